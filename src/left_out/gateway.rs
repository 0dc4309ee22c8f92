//! In the place of HTTP between a visitor and a ProxyChannel: all that passes is bytes.

pub use crate::relay::outbound;
