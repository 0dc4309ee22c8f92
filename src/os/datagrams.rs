//! Sockets for datagrams. Where a public port is open at every address, the system is asked at which of them a datagram
//! came (RFC 3542 section 6.1, ip(7)), and the answer leaves from there: from another one the visitor would not take it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

use crate::net::Ends;

/// What the kernel is asked to keep for a socket that is not read at once; it grants what it permits.
const KERNEL_BYTES: usize = 1 << 20;

/// A socket for datagrams.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    /// It has one peer alone.
    connected: bool,
    /// It is of IPv6, and IPv4 addresses stand within IPv6 ones (RFC 4291 section 2.5.5.2).
    v6: bool,
    /// It is open at every address.
    any: bool,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    // It works with what it has, where this is refused.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, KERNEL_BYTES);
    let _ = sockopt::set_socket_send_buffer_size(&socket, KERNEL_BYTES);
    Ok(socket)
}

impl Socket {
    /// At an address; the unspecified IPv6 one stands for every address of both families, or of IPv4 where there is no
    /// IPv6.
    pub(super) fn listen(address: SocketAddr) -> io::Result<Self> {
        let any = address.ip().is_unspecified();
        match Self::bind(address, any) {
            Err(error)
                if any
                    && address.is_ipv6()
                    && error.kind() != io::ErrorKind::AddrInUse
                    && error.kind() != io::ErrorKind::PermissionDenied =>
            {
                Self::bind(SocketAddr::from(([0, 0, 0, 0], address.port())), any)
            }
            result => result,
        }
    }

    fn bind(address: SocketAddr, any: bool) -> io::Result<Self> {
        let socket = socket(address)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, !any)?;
        }
        if any {
            ask::which_address(&socket, address.is_ipv6())?;
        }
        rustix::net::bind(&socket, &address)?;
        Ok(Self { socket, connected: false, v6: address.is_ipv6(), any })
    }

    /// For one peer.
    pub(super) fn dial(address: SocketAddr) -> io::Result<Self> {
        let socket = socket(address)?;
        rustix::net::connect(&socket, &address)?;
        Ok(Self { socket, connected: true, v6: address.is_ipv6(), any: false })
    }

    /// The address that it is open at.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::try_from(rustix::net::getsockname(&self.socket)?)?)
    }

    pub(super) fn receive(&self, into: &mut [u8]) -> io::Result<(usize, Option<Ends>)> {
        if self.connected {
            return Ok((rustix::net::recv(&self.socket, into, RecvFlags::empty())?.0, None));
        }
        let (length, peer, local) = if self.any {
            ask::receive(self.as_fd(), into)?
        } else {
            let (length, _, peer) = rustix::net::recvfrom(&self.socket, into, RecvFlags::empty())?;
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            (length, peer.ok_or(io::ErrorKind::InvalidData)?, None)
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Ok((length, Some(Ends { peer, local: local.map(|ip| ip.to_canonical()) })))
    }

    pub(super) fn send(&self, to: Option<Ends>, datagram: &[u8]) -> io::Result<()> {
        match self.send_once(to, datagram) {
            // This is about the one before: nobody has this one yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.send_once(to, datagram),
            result => result,
        }
    }

    fn send_once(&self, to: Option<Ends>, datagram: &[u8]) -> io::Result<()> {
        let Some(Ends { peer, local }) = to else {
            rustix::net::send(&self.socket, datagram, SendFlags::empty())?;
            return Ok(());
        };
        let peer = SocketAddr::new(self.mapped(peer.ip()), peer.port());
        match local {
            Some(local) => ask::send(self.as_fd(), peer, self.mapped(local), datagram),
            None => {
                rustix::net::sendto(&self.socket, datagram, SendFlags::empty(), &peer)?;
                Ok(())
            }
        }
    }

    fn mapped(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(ip) if self.v6 => ip.to_ipv6_mapped().into(),
            ip => ip,
        }
    }
}

/// At which address a datagram came, and from which one is to leave: control messages beside it, which only libc has
/// the words for.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod ask {
    use std::io;
    use std::mem::{size_of, size_of_val, zeroed};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
    use std::ptr::from_mut;

    /// Room for one message of either family, aligned as its header must be.
    #[repr(C, align(8))]
    struct Control([u8; 64]);

    pub(super) fn which_address(socket: impl AsFd, v6: bool) -> io::Result<()> {
        let (level, option) = if v6 {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
        } else {
            (libc::IPPROTO_IP, libc::IP_PKTINFO)
        };
        let on: libc::c_int = 1;
        // SAFETY: the option is an int, and `on` lives over the call.
        #[allow(unsafe_code)]
        let result = unsafe {
            let value = (&raw const on).cast();
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                level,
                option,
                value,
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn receive(
        socket: BorrowedFd<'_>,
        into: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
        // SAFETY: all pointers of the header are to things that live over the call, with their lengths; zeros are
        // good values of each. What the kernel wrote is read within the bounds that it and CMSG_* give.
        #[allow(unsafe_code)]
        unsafe {
            let mut control = Control([0; 64]);
            let mut name: libc::sockaddr_storage = zeroed();
            let mut bytes = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
            let mut message: libc::msghdr = zeroed();
            message.msg_name = from_mut(&mut name).cast();
            message.msg_namelen = size_of_val(&name) as libc::socklen_t;
            message.msg_iov = &raw mut bytes;
            message.msg_iovlen = 1;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = control.0.len() as _;
            let length = libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0);
            if length < 0 {
                return Err(io::Error::last_os_error());
            }
            let mut local = None;
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while let Some(present) = header.as_ref() {
                let data = libc::CMSG_DATA(header);
                match (present.cmsg_level, present.cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                        local = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    }
                    _ => {}
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
            let peer = match libc::c_int::from(name.ss_family) {
                libc::AF_INET => {
                    let name = (&raw const name).cast::<libc::sockaddr_in>().read();
                    let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
                    SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into()
                }
                libc::AF_INET6 => {
                    let name = (&raw const name).cast::<libc::sockaddr_in6>().read();
                    let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
                    SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into()
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            Ok((length as usize, peer, local))
        }
    }

    pub(super) fn send(
        socket: BorrowedFd<'_>,
        peer: SocketAddr,
        local: IpAddr,
        datagram: &[u8],
    ) -> io::Result<()> {
        // SAFETY: as above; the control message is written within the room that CMSG_SPACE asks for.
        #[allow(unsafe_code)]
        unsafe {
            let mut control = Control([0; 64]);
            let mut name: libc::sockaddr_storage = zeroed();
            let name_length = match peer {
                SocketAddr::V4(peer) => {
                    let mut value: libc::sockaddr_in = zeroed();
                    value.sin_family = libc::AF_INET as libc::sa_family_t;
                    value.sin_port = peer.port().to_be();
                    value.sin_addr.s_addr = u32::from(*peer.ip()).to_be();
                    from_mut(&mut name).cast::<libc::sockaddr_in>().write(value);
                    size_of::<libc::sockaddr_in>()
                }
                SocketAddr::V6(peer) => {
                    let mut value: libc::sockaddr_in6 = zeroed();
                    value.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    value.sin6_port = peer.port().to_be();
                    value.sin6_addr.s6_addr = peer.ip().octets();
                    value.sin6_scope_id = peer.scope_id();
                    from_mut(&mut name).cast::<libc::sockaddr_in6>().write(value);
                    size_of::<libc::sockaddr_in6>()
                }
            };
            let mut bytes =
                libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
            let mut message: libc::msghdr = zeroed();
            message.msg_name = from_mut(&mut name).cast();
            message.msg_namelen = name_length as libc::socklen_t;
            message.msg_iov = &raw mut bytes;
            message.msg_iovlen = 1;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = control.0.len() as _;
            let header = &mut *libc::CMSG_FIRSTHDR(&raw const message);
            let info_length = match local {
                IpAddr::V4(ip) => {
                    let mut info: libc::in_pktinfo = zeroed();
                    info.ipi_spec_dst.s_addr = u32::from(ip).to_be();
                    (header.cmsg_level, header.cmsg_type) = (libc::IPPROTO_IP, libc::IP_PKTINFO);
                    libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().write_unaligned(info);
                    size_of::<libc::in_pktinfo>()
                }
                IpAddr::V6(ip) => {
                    let mut info: libc::in6_pktinfo = zeroed();
                    info.ipi6_addr.s6_addr = ip.octets();
                    (header.cmsg_level, header.cmsg_type) = (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
                    libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().write_unaligned(info);
                    size_of::<libc::in6_pktinfo>()
                }
            };
            header.cmsg_len = libc::CMSG_LEN(info_length as libc::c_uint) as _;
            message.msg_controllen = libc::CMSG_SPACE(info_length as libc::c_uint) as _;
            if libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        }
    }
}

/// Other systems answer from the address that their routes choose.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod ask {
    use std::io;
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::{AsFd, BorrowedFd};

    use rustix::net::{RecvFlags, SendFlags};

    pub(super) fn which_address(_: impl AsFd, _v6: bool) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn receive(
        socket: BorrowedFd<'_>,
        into: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
        let (length, _, peer) = rustix::net::recvfrom(socket, into, RecvFlags::empty())?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok((length, peer.ok_or(io::ErrorKind::InvalidData)?, None))
    }

    pub(super) fn send(
        socket: BorrowedFd<'_>,
        peer: SocketAddr,
        _: IpAddr,
        datagram: &[u8],
    ) -> io::Result<()> {
        rustix::net::sendto(socket, datagram, SendFlags::empty(), &peer)?;
        Ok(())
    }
}
