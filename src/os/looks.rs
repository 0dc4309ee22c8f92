//! What only the kernel knows: how a connection fared, and whether somebody keeps the clock right.

use std::net::TcpStream;

/// Segments that had to be sent again on this connection so far, its handshake's among them; `None` where the system
/// does not say.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn resent(stream: &TcpStream) -> Option<u32> {
    use std::mem::{MaybeUninit, offset_of};
    use std::os::fd::AsRawFd;

    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes there, which is the size of what it points to.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    };
    // SAFETY: it is numbers alone, of which zeros are as good as any where an old kernel wrote fewer.
    let info = unsafe { info.assume_init() };
    let known = offset_of!(libc::tcp_info, tcpi_total_retrans) + size_of::<u32>();
    (result == 0 && length as usize >= known).then_some(info.tcpi_total_retrans)
}

/// Whether something keeps the clock of the day right; `None` where the system does not say.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn clock_is_steered() -> Option<bool> {
    /// The clock is not synchronised (adjtimex(2)).
    const TIME_ERROR: libc::c_int = 5;
    let mut about = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: zeros ask for nothing to be changed; the kernel writes the structure whose address it is given.
    match unsafe { libc::adjtimex(about.as_mut_ptr()) } {
        ..0 => None,
        state => Some(state != TIME_ERROR),
    }
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub fn resent(_: &TcpStream) -> Option<u32> {
    None
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub fn clock_is_steered() -> Option<bool> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_a_connection_and_of_the_clock() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(resent(&stream), Some(0), "nothing is lost within a machine");
        assert!(clock_is_steered().is_some());
    }

    /// A full queue drops the first segment of whoever comes next, who sends it again a second later.
    #[test]
    fn what_was_sent_again_is_counted() {
        use rustix::net::{AddressFamily, SocketType, bind, connect, listen, socket};
        let dropped = || {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            listen(&socket, 0).unwrap();
            let listener = std::net::TcpListener::from(socket);
            let address = listener.local_addr().unwrap();
            let _first = TcpStream::connect(address).unwrap();
            let late = rustix::net::socket_with(
                AddressFamily::INET,
                SocketType::STREAM,
                rustix::net::SocketFlags::NONBLOCK,
                None,
            );
            let late = late.unwrap();
            let _ = connect(&late, &address);
            listener.accept().unwrap();
            // Room again: it comes in when it knocks once more.
            listener.accept().unwrap();
            resent(&TcpStream::from(late)).unwrap()
        };
        assert!(dropped() > 0);
    }
}
