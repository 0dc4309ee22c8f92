//! Sockets for datagrams. Where a public port is open at every address, the system is asked at which of them a datagram
//! came (RFC 3542 section 6.1, ip(7)), and the answer leaves from there: from another the visitor would not take it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, RecvFlags, SocketType, ipproto, sockopt};

use super::system::net;
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
    /// Datagrams of this length are not cut by the system.
    too_long: usize,
}

/// Whom a datagram is for, and which address it leaves from.
type To = (SocketAddr, Option<IpAddr>);

fn socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket(family, SocketType::DGRAM, Some(ipproto::UDP))?;
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
                    && error.kind() != ErrorKind::AddrInUse
                    && error.kind() != ErrorKind::PermissionDenied =>
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
        net::claim_datagrams(&socket)?;
        if any {
            ask::which_address(&socket, address.is_ipv6())?;
        }
        rustix::net::bind(&socket, &address)?;
        Ok(Self { socket, connected: false, v6: address.is_ipv6(), any, too_long: usize::MAX })
    }

    /// For one peer.
    pub(super) fn dial(address: SocketAddr) -> io::Result<Self> {
        let socket = socket(address)?;
        rustix::net::connect(&socket, &address)?;
        Ok(Self { socket, connected: true, v6: address.is_ipv6(), any: false, too_long: usize::MAX })
    }

    /// Its handle, as the poller knows it.
    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
            ask::receive(self.handle(), into)?
        } else {
            let (length, _, peer) = rustix::net::recvfrom(&self.socket, into, RecvFlags::empty())?;
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            (length, peer.ok_or(ErrorKind::InvalidData)?, None)
        };
        // Nobody can answer to it.
        if peer.port() == 0 {
            return Err(ErrorKind::InvalidData.into());
        }
        // A link-local address is nothing without its interface (RFC 4007 section 6).
        let peer = match peer.ip().to_canonical() {
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, peer.port()),
            IpAddr::V6(_) => peer,
        };
        let local = local.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_multicast());
        Ok((length, Some(Ends { peer, local })))
    }

    /// Sends datagrams of one length, of which the last may be shorter; how many were sent.
    pub(super) fn send(&mut self, to: Option<Ends>, datagrams: &[&[u8]]) -> usize {
        let to = to.map(|Ends { peer, local }| {
            let peer = match peer.ip() {
                ip @ IpAddr::V4(_) => SocketAddr::new(self.mapped(ip), peer.port()),
                IpAddr::V6(_) => peer,
            };
            (peer, local.map(|ip| self.mapped(ip)))
        });
        // Cut by the system, they pass through most of it as one; it refuses those that are longer than a packet.
        let length = datagrams.first().map_or(0, |first| first.len());
        let mut refused = false;
        if datagrams.len() > 1 && length < self.too_long {
            match ask::send(self.handle(), to, datagrams) {
                Ok(()) => return datagrams.len(),
                Err(error) => {
                    refused = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused)
                }
            }
        }
        let sent = datagrams.iter().filter(|datagram| self.send_one(to, datagram).is_ok()).count();
        // Not so where it was the way that refused, and not their length.
        if refused && sent > 0 {
            self.too_long = length;
        }
        sent
    }

    fn send_one(&self, to: Option<To>, datagram: &[u8]) -> io::Result<()> {
        match ask::send(self.handle(), to, &[datagram]) {
            // This is about the one before: nobody has this one yet.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                ask::send(self.handle(), to, &[datagram])
            }
            // Nobody answers from a broadcast address, which the visitor wrote to: from whichever there is a way.
            Err(error)
                if !matches!(error.kind(), ErrorKind::WouldBlock) && matches!(to, Some((_, Some(_)))) =>
            {
                ask::send(self.handle(), to.map(|(peer, _)| (peer, None)), &[datagram])
            }
            result => result,
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
    use std::ptr::{from_mut, null_mut};

    use super::To;
    use crate::limits::DATAGRAMS_PER_SEND;

    /// Room for a message of each kind, aligned as its header must be.
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
                        // Not where it was sent to, which may be a broadcast, but the own address that it concerns.
                        local = Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
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

    /// Sends a datagram, or several of one length of which the last may be shorter, as one message that the system cuts
    /// (udp(7), UDP_SEGMENT).
    pub(super) fn send(socket: BorrowedFd<'_>, to: Option<To>, datagrams: &[&[u8]]) -> io::Result<()> {
        // SAFETY: as above; the room for control messages is enough for one of each kind.
        #[allow(unsafe_code)]
        unsafe {
            let mut bytes: [libc::iovec; DATAGRAMS_PER_SEND] = zeroed();
            for (part, datagram) in bytes.iter_mut().zip(datagrams) {
                (part.iov_base, part.iov_len) = (datagram.as_ptr().cast_mut().cast(), datagram.len());
            }
            let (mut control, mut name) = (Control([0; 64]), zeroed());
            let mut message: libc::msghdr = zeroed();
            (message.msg_iov, message.msg_iovlen) =
                (bytes.as_mut_ptr(), datagrams.len().min(bytes.len()) as _);
            if let Some((peer, _)) = to {
                message.msg_namelen = write_name(&mut name, peer) as libc::socklen_t;
                message.msg_name = from_mut(&mut name).cast();
            }
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = control.0.len() as _;
            let (mut header, mut used) = (libc::CMSG_FIRSTHDR(&raw const message), 0);
            match to.and_then(|(_, local)| local) {
                Some(IpAddr::V4(ip)) => {
                    let mut info: libc::in_pktinfo = zeroed();
                    info.ipi_spec_dst.s_addr = u32::from(ip).to_be();
                    used += write_control(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
                    header = libc::CMSG_NXTHDR(&raw const message, header);
                }
                Some(IpAddr::V6(ip)) => {
                    let mut info: libc::in6_pktinfo = zeroed();
                    info.ipi6_addr.s6_addr = ip.octets();
                    used += write_control(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
                    header = libc::CMSG_NXTHDR(&raw const message, header);
                }
                None => {}
            }
            if let [first, _, ..] = datagrams {
                used += write_control(header, libc::SOL_UDP, libc::UDP_SEGMENT, first.len() as u16);
            }
            message.msg_controllen = used as _;
            if used == 0 {
                message.msg_control = null_mut();
            }
            if libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        }
    }

    /// Writes one control message; the room it takes.
    ///
    /// # Safety
    /// There is so much room behind `header`.
    #[allow(unsafe_code)]
    unsafe fn write_control<T>(
        header: *mut libc::cmsghdr,
        level: libc::c_int,
        kind: libc::c_int,
        value: T,
    ) -> usize {
        let length = size_of::<T>() as libc::c_uint;
        // SAFETY: the caller's.
        unsafe {
            ((*header).cmsg_level, (*header).cmsg_type) = (level, kind);
            (*header).cmsg_len = libc::CMSG_LEN(length) as _;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
            libc::CMSG_SPACE(length) as usize
        }
    }

    /// Writes an address as the system has it; its length.
    #[allow(unsafe_code)]
    fn write_name(name: &mut libc::sockaddr_storage, address: SocketAddr) -> usize {
        // SAFETY: zeros are good values of both kinds, and there is room for either.
        unsafe {
            match address {
                SocketAddr::V4(address) => {
                    let mut value: libc::sockaddr_in = zeroed();
                    value.sin_family = libc::AF_INET as libc::sa_family_t;
                    value.sin_port = address.port().to_be();
                    value.sin_addr.s_addr = u32::from(*address.ip()).to_be();
                    from_mut(name).cast::<libc::sockaddr_in>().write(value);
                    size_of::<libc::sockaddr_in>()
                }
                SocketAddr::V6(address) => {
                    let mut value: libc::sockaddr_in6 = zeroed();
                    value.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    value.sin6_port = address.port().to_be();
                    value.sin6_addr.s6_addr = address.ip().octets();
                    value.sin6_scope_id = address.scope_id();
                    from_mut(name).cast::<libc::sockaddr_in6>().write(value);
                    size_of::<libc::sockaddr_in6>()
                }
            }
        }
    }
}

/// Other systems answer from the address that their routes choose.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod ask {
    use std::io;
    use std::net::{IpAddr, SocketAddr};

    use rustix::fd::{AsFd, BorrowedFd};
    use rustix::net::{RecvFlags, SendFlags};

    use super::To;

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

    pub(super) fn send(socket: BorrowedFd<'_>, to: Option<To>, datagrams: &[&[u8]]) -> io::Result<()> {
        let [datagram] = datagrams else { return Err(io::ErrorKind::Unsupported.into()) };
        match to {
            Some((peer, _)) => rustix::net::sendto(socket, datagram, SendFlags::empty(), &peer)?,
            None => rustix::net::send(socket, datagram, SendFlags::empty())?,
        };
        Ok(())
    }
}
