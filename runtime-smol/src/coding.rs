//! Content codings (RFC 9110, 8.4): which one a client wants, and the one there is beside none, gzip.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{self, HeaderMap};

/// How a body is coded on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is.
    Identity,
    /// By RFC 1952.
    Gzip,
}

/// Thousandths, as many digits as a weight may have (RFC 9110, 12.4.2).
const WHOLE: u16 = 1000;

impl Coding {
    /// What `Accept-Encoding` prefers (RFC 9110, 12.5.3): gzip where it weighs as much as no coding at all. Who accepts neither
    /// gets the body as it is, as the RFC allows: a page that can be read is of more use than a refusal. What makes no
    /// sense in the header counts as not said.
    pub(crate) fn preferred(request: &HeaderMap) -> Coding {
        let [mut gzip, mut identity, mut any] = [None; 3];
        let values = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for member in values.flat_map(|value| value.split(',')) {
            let mut parts = member.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let Some(weight) = parts.next().map_or(Some(WHOLE), weight) else { continue };
            let place = match name.to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => &mut gzip,
                "identity" => &mut identity,
                "*" => &mut any,
                _ => continue,
            };
            *place = Some(weight);
        }
        let gzip = gzip.or(any).unwrap_or(0);
        // Where nothing is said of it, no coding at all is what remains when there is nothing better.
        let identity = identity.unwrap_or(0);
        if gzip > 0 && gzip >= identity { Coding::Gzip } else { Coding::Identity }
    }
}

/// `q=0.5` in thousandths.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, part) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if part.len() > 3 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part = format!("{part:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(WHOLE),
        _ => None,
    }
}

/// The same in gzip; `None` where that is no shorter.
pub(crate) fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::best());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().filter(|coded| coded.len() < body.len())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_header_is_obeyed() {
        let wanted = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            Coding::preferred(&headers)
        };
        let gzip: [&[&str]; 12] = [
            &["gzip, deflate, br, zstd"],
            &["GZip"],
            &["x-gzip"],
            &["br", "gzip;q=0.001"],
            &["gzip ; Q=1.000"],
            &["gzip;q=0.5, identity;q=0.5"],
            &["*"],
            &["*;q=0.2, identity;q=0.1"],
            &["identity;q=0, gzip;q=0.1"],
            &["*;q=0, gzip"],
            &["gzip;q=1."],
            &["gzip, gzip;q=2, gzip;level=9, ,;,=,"],
        ];
        for values in gzip {
            assert_eq!(wanted(values), Coding::Gzip, "{values:?}");
        }
        let identity: [&[&str]; 11] = [
            &[],
            &[""],
            &["identity"],
            &["br"],
            &["gzip;q=0"],
            &["gzip;q=0.000, *"],
            &["gzip;q=0.4, identity;q=0.5"],
            &["*;q=0.3, identity"],
            &["*;q=0"],
            &["gzip;q=1.001"],
            &["gzip;q=0.0001", "gzipped", "gzip;q=", "gzip;q=+1"],
        ];
        for values in identity {
            assert_eq!(wanted(values), Coding::Identity, "{values:?}");
        }
    }
}
