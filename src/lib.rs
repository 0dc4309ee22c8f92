#![doc = "nt publishes services that live behind NAT."]
