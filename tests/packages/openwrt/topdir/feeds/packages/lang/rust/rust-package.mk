# What compiles is not asked: whether what there is can be compiled, cargo says.
