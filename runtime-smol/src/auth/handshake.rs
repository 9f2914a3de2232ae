//! The token of a WebSocket handshake, wherever the client has put it.

/// The subprotocol that we speak; a client that offers it is answered with it.
pub const PROTOCOL: &str = "causerie.v1";

/// What marks a token among the offered subprotocols.
const BEARER: &str = "bearer.";

/// What the request of a handshake says about who comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// The token, unchecked.
    pub token: Option<String>,
    /// Whether the client offers [`PROTOCOL`], which the answer must then name.
    pub offers_protocol: bool,
}

impl Handshake {
    /// Finds the token in, first, `Authorization: Bearer TOKEN`; then a subprotocol `bearer.TOKEN`, for browsers, which
    /// can set no header; then `token=TOKEN` in the query, where all clients can put it and access logs can see it. An
    /// empty one counts as none; the first of several is taken.
    ///
    /// `query` is what stands behind the `?`, still percent-encoded; `protocols` are the values of all
    /// `Sec-WebSocket-Protocol` lines; `authorization` is the header's value.
    pub fn read<'a>(
        query: Option<&str>,
        protocols: impl IntoIterator<Item = &'a str>,
        authorization: Option<&str>,
    ) -> Handshake {
        let mut offers_protocol = false;
        let mut offered_token = None;
        for protocol in protocols.into_iter().flat_map(|line| line.split(',')).map(str::trim) {
            offers_protocol |= protocol == PROTOCOL;
            if offered_token.is_none() {
                offered_token = protocol.strip_prefix(BEARER).filter(|token| !token.is_empty());
            }
        }
        let token = authorization
            .and_then(bearer)
            .or(offered_token)
            .map(str::to_owned)
            .or_else(|| query.and_then(|query| parameter(query, "token")));
        Handshake { token, offers_protocol }
    }
}

/// The token of an `Authorization` header (RFC 6750, 2.1). The scheme is of any case (RFC 9110, 11.1).
pub(crate) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The first parameter of a name that is not empty, decoded.
fn parameter(query: &str, wanted: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, value)| *name == wanted && !value.is_empty())
        .map(|(_, value)| percent_decode(value))
}

/// Undoes percent-encoding (RFC 3986, 2.1). What is not a valid escape stays as it is, and bytes that are not UTF-8
/// become U+FFFD: no such token verifies.
fn percent_decode(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: Option<&str>, protocols: &[&str], authorization: Option<&str>, token: Option<&str>, offers: bool) {
        let found = Handshake::read(query, protocols.iter().copied(), authorization);
        assert_eq!((found.token.as_deref(), found.offers_protocol), (token, offers));
    }

    #[test]
    fn each_place_alone() {
        check(None, &[], None, None, false);
        check(Some("token=a.b.c"), &[], None, Some("a.b.c"), false);
        check(None, &["causerie.v1, bearer.a.b.c"], None, Some("a.b.c"), true);
        check(None, &["bearer.a.b.c", "causerie.v1"], None, Some("a.b.c"), true);
        check(None, &["causerie.v1"], None, None, true);
        check(None, &[], Some("Bearer a.b.c"), Some("a.b.c"), false);
        check(None, &[], Some("bEaReR   a.b.c "), Some("a.b.c"), false);
    }

    #[test]
    fn header_before_subprotocol_before_query() {
        check(Some("token=q"), &["causerie.v1,bearer.p"], Some("Bearer h"), Some("h"), true);
        check(Some("token=q"), &["bearer.p"], Some("Basic h"), Some("p"), false);
        check(Some("token=q"), &["bearer."], Some("Bearer "), Some("q"), false);
    }

    #[test]
    fn the_query_is_decoded_and_searched_by_name() {
        check(Some("x=1&token=a%2Eb%2ec&token=second"), &[], None, Some("a.b.c"), false);
        check(Some("token=&token=later"), &[], None, Some("later"), false);
        check(Some("mytoken=a&tokens=b&token"), &[], None, None, false);
        check(Some("token=%"), &[], None, Some("%"), false);
        check(Some("token=%4"), &[], None, Some("%4"), false);
        check(Some("token=%zz%41"), &[], None, Some("%zzA"), false);
        check(Some("token=%ff"), &[], None, Some("\u{fffd}"), false);
        check(Some("token=é%C3%A9"), &[], None, Some("éé"), false);
    }
}
