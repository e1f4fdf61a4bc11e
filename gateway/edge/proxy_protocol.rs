//! PROXY protocol, versions 1 and 2, receiving side: who the client is, said by a load balancer in front.
//!
//! Source: the PROXY protocol specification of HAProxy, revision 2020/03/05. Read strictly: what is not exactly a header is
//! no header, and no byte behind it is taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Longest line of version 1, CRLF included.
const V1_BYTES: usize = 107;

/// Longest block of version 2 that is read: addresses and the extensions that load balancers add.
const V2_BYTES: usize = 4096;

/// Reads a header, and nothing behind it. `None`: the load balancer speaks for itself (a health check, for example), or
/// does not know.
///
/// # Errors
/// When what came is no header, or the peer left.
pub async fn read(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    // The shortest line of version 1 has 15 bytes, the shortest block of version 2 has 16.
    let mut start = [0; 12];
    tcp.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        return read_v2(tcp).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(wrong("no PROXY protocol header"));
    }
    let mut line = Vec::with_capacity(V1_BYTES);
    line.extend_from_slice(&start);
    while !line.ends_with(b"\n") {
        read_to_line_end(tcp, &mut line).await?;
    }
    parse_v1(&line)
}

/// Reads what is there, up to the line end: looked at first, so that nothing behind it is taken.
async fn read_to_line_end(tcp: &mut TcpStream, line: &mut Vec<u8>) -> io::Result<()> {
    let mut ahead = [0; V1_BYTES];
    let room = V1_BYTES - line.len();
    if room == 0 {
        return Err(wrong("the line is too long"));
    }
    let seen = tcp.peek(&mut ahead[..room]).await?;
    if seen == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let own = memchr::memchr(b'\n', &ahead[..seen]).map_or(seen, |at| at + 1);
    tcp.read_exact(&mut ahead[..own]).await?;
    line.extend_from_slice(&ahead[..own]);
    Ok(())
}

async fn read_v2(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; 4];
    tcp.read_exact(&mut head).await?;
    let [_, _, high, low] = head;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > V2_BYTES {
        return Err(wrong("the address block is too long"));
    }
    let mut block = vec![0; len];
    tcp.read_exact(&mut block).await?;
    parse_v2(head[0], head[1], &block)
}

/// `PROXY TCP4 source destination source-port destination-port CRLF`.
fn parse_v1(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| wrong("the line does not end in CRLF"))?;
    let line = std::str::from_utf8(line).map_err(|_| wrong("the line is not text"))?;
    let rest = line.strip_prefix("PROXY ").ok_or_else(|| wrong("no PROXY protocol header"))?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let mut words = rest.split(' ');
    let mut next = || words.next().ok_or_else(|| wrong("the line is too short"));
    let (family, source, destination, source_port, destination_port) = (next()?, next()?, next()?, next()?, next()?);
    if words.next().is_some() {
        return Err(wrong("the line has too many words"));
    }
    let (source, _) = match family {
        "TCP4" => (IpAddr::V4(address(source)?), IpAddr::V4(address(destination)?)),
        "TCP6" => (IpAddr::V6(address(source)?), IpAddr::V6(address(destination)?)),
        _ => return Err(wrong("neither TCP4, TCP6 nor UNKNOWN")),
    };
    port(destination_port)?;
    Ok(Some(SocketAddr::new(source.to_canonical(), port(source_port)?)))
}

fn address<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| wrong("not an address of that family"))
}

/// Decimal without sign or leading zero.
fn port(text: &str) -> io::Result<u16> {
    let port: u16 = text.parse().map_err(|_| wrong("not a port"))?;
    if port.to_string() == text { Ok(port) } else { Err(wrong("not a port")) }
}

fn parse_v2(version_command: u8, family: u8, block: &[u8]) -> io::Result<Option<SocketAddr>> {
    let too_short = || wrong("the address block is too short");
    match version_command {
        0x20 => return Ok(None), // LOCAL
        0x21 => {}
        _ => return Err(wrong("neither LOCAL nor PROXY of version 2")),
    }
    let (ip, port): (IpAddr, &[u8]) = match family {
        0x11 => {
            let ([ip @ .., _, _, _, _], port) = block.split_first_chunk::<8>().ok_or_else(too_short)?;
            (Ipv4Addr::from(*ip).into(), port)
        }
        0x21 => {
            let (ips, port) = block.split_first_chunk::<32>().ok_or_else(too_short)?;
            let (ip, _) = ips.split_first_chunk::<16>().ok_or_else(too_short)?;
            (Ipv6Addr::from(*ip).into(), port)
        }
        0x00 => return Ok(None), // UNSPEC
        _ => return Err(wrong("not TCP over IPv4 or IPv6")),
    };
    let ([high, low, _, _], _) = port.split_first_chunk::<4>().ok_or_else(too_short)?;
    Ok(Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes([*high, *low]))))
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What `read` makes of these bytes, and what it leaves; the bytes come in parts of `cut`.
    async fn read_all(bytes: &[u8], cut: usize) -> (Result<Option<SocketAddr>, io::ErrorKind>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut tcp, _) = listener.accept().await.unwrap();
        let bytes = bytes.to_vec();
        let sending = tokio::spawn(async move {
            peer.set_nodelay(true).unwrap();
            for part in bytes.chunks(cut) {
                // The reader may have refused already.
                let _ = peer.write_all(part).await;
                tokio::task::yield_now().await;
            }
        });
        let read = tokio::time::timeout(Duration::from_secs(10), read(&mut tcp)).await.unwrap();
        sending.await.unwrap();
        let mut rest = Vec::new();
        let _ = tcp.read_to_end(&mut rest).await;
        (read.map_err(|error| error.kind()), rest)
    }

    fn v2(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version_command, family]);
        bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend(block);
        bytes
    }

    #[tokio::test]
    async fn headers_that_are_taken() {
        let v4_block = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let v6_block =
            [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9][..], &[0; 16], &[1, 2, 3, 4]].concat();
        let extended = [&v4_block[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        let table: [(Vec<u8>, Option<&str>); 10] = [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(), Some("192.0.2.7:4711")),
            (b"PROXY TCP6 2001:db8::9 ::1 258 80\r\n".to_vec(), Some("[2001:db8::9]:258")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), Some("192.0.2.7:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4_block), Some("192.0.2.7:4711")),
            (v2(0x21, 0x11, &extended), Some("192.0.2.7:4711")),
            (v2(0x21, 0x21, &v6_block), Some("[2001:db8::9]:258")),
            (v2(0x20, 0x00, b""), None),
            (v2(0x21, 0x00, b"abc"), None),
        ];
        for (header, client) in table {
            let bytes = [&header[..], b"GET / behind\r\n"].concat();
            for cut in [1, 7, 1000] {
                let (read, rest) = read_all(&bytes, cut).await;
                assert_eq!(read, Ok(client.map(|client| client.parse().unwrap())), "{}", header.escape_ascii());
                assert_eq!(rest, b"GET / behind\r\n", "{}", header.escape_ascii());
            }
        }
    }

    #[tokio::test]
    async fn headers_that_are_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let table: [Vec<u8>; 18] = [
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            b"proxy TCP4 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80 9\r\n".to_vec(),
            b"PROXY TCP4  192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 04711 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +4711 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.256 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::9 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(),
            long.into_bytes(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
        ];
        for bytes in table {
            let (read, _) = read_all(&bytes, 1000).await;
            assert_eq!(read, Err(io::ErrorKind::InvalidData), "{}", bytes.escape_ascii());
        }
        let (read, _) = read_all(b"PROXY TCP4 192.0.2.7", 1000).await;
        assert_eq!(read, Err(io::ErrorKind::UnexpectedEof));
    }

    proptest! {
        /// `ppp` reads the same client from what we take.
        #[test]
        fn a_parser_of_others_agrees_on_version_1(
            source in any::<Ipv4Addr>(), destination in any::<Ipv4Addr>(), ports in any::<(u16, u16)>(),
            source6 in any::<Ipv6Addr>(), six in any::<bool>(),
        ) {
            let line = if six {
                format!("PROXY TCP6 {source6} ::1 {} {}\r\n", ports.0, ports.1)
            } else {
                format!("PROXY TCP4 {source} {destination} {} {}\r\n", ports.0, ports.1)
            };
            let theirs = ppp::v1::Header::try_from(line.as_str()).unwrap();
            let expected = match theirs.addresses {
                ppp::v1::Addresses::Tcp4(a) => SocketAddr::new(a.source_address.into(), a.source_port),
                ppp::v1::Addresses::Tcp6(a) => {
                    SocketAddr::new(IpAddr::V6(a.source_address).to_canonical(), a.source_port)
                }
                ppp::v1::Addresses::Unknown => unreachable!(),
            };
            prop_assert_eq!(parse_v1(line.as_bytes()).unwrap(), Some(expected));
        }

        /// What `ppp` refuses we refuse, and where both find a client it is the same.
        #[test]
        fn a_parser_of_others_agrees_on_version_2(
            command in prop_oneof![Just(0x20u8), Just(0x21), any::<u8>()],
            family in prop_oneof![Just(0x11u8), Just(0x21), Just(0x00), any::<u8>()],
            block in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let bytes = v2(command, family, &block);
            let theirs = ppp::v2::Header::try_from(bytes.as_slice());
            let ours = parse_v2(command, family, &block);
            match (&theirs, &ours) {
                (Ok(header), Ok(Some(client))) => {
                    let (ip, port) = match header.addresses {
                        ppp::v2::Addresses::IPv4(a) => (IpAddr::V4(a.source_address), a.source_port),
                        ppp::v2::Addresses::IPv6(a) => (IpAddr::V6(a.source_address), a.source_port),
                        _ => panic!("a client out of nothing"),
                    };
                    prop_assert_eq!(*client, SocketAddr::new(ip.to_canonical(), port));
                }
                // LOCAL and UNSPEC say nothing, whatever follows; the oracle wants a well-formed block even so.
                (_, Ok(None)) => prop_assert!(command == 0x20 || family == 0x00),
                // Unix sockets and datagrams are no clients of ours.
                (Ok(_), Err(_)) => prop_assert!(family != 0x11 && family != 0x21),
                (Err(_), Ok(Some(_))) => prop_assert!(false, "taken: {}", bytes.escape_ascii()),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn nothing_panics(line in prop::collection::vec(any::<u8>(), 0..120), command in any::<u8>(), family in any::<u8>()) {
            let _ = parse_v1(&line);
            let _ = parse_v2(command, family, &line);
        }
    }
}
