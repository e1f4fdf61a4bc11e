//! Vectors that others published, or that the clients' own code made; and what must not pass.

use axum::http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// A request, the key that it was signed with, and when.
struct Signed {
    method: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    key: (&'static str, &'static str),
    now: u64,
}

impl Signed {
    fn check(&self) -> Result<(), FailureKind> {
        let fields = self.headers.iter();
        let headers = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers = headers.collect();
        let request = SignedRequest { method: self.method, path: self.path, query: self.query, headers: &headers };
        let ring = KeyRing::of(self.key.0, self.key.1);
        let presented = present(&request, &ring, Duration::from_secs(self.now)).map_err(|failure| failure.kind)?;
        presented.verify(&request, self.body.as_bytes()).map(drop).map_err(|failure| failure.kind)
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
        self
    }
}

const AWS: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
/// 20150830T123600Z
const AWS_TIME: u64 = 1_440_938_160;

/// `get-vanilla` of the test suite of Signature Version 4.
fn vanilla() -> Signed {
    Signed {
        method: "GET",
        path: "/",
        query: None,
        headers: vec![
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, \
                 Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
        ],
        body: "",
        key: AWS,
        now: AWS_TIME,
    }
}

#[test]
fn the_published_vectors_of_sigv4_pass() {
    assert_eq!(vanilla().check(), Ok(()));
    // `get-vanilla-query-order-key-case`
    let query = Signed { query: Some("Param2=value2&Param1=value1"), ..vanilla() }.with(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
         Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    );
    assert_eq!(query.check(), Ok(()));
    // `post-x-www-form-urlencoded`
    let post = Signed { method: "POST", body: "Param1=value1", ..vanilla() }
        .with("content-type", "application/x-www-form-urlencoded")
        .with(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        );
    assert_eq!(post.check(), Ok(()));
}

#[test]
fn a_changed_request_fails() {
    let wrong = Err(FailureKind::WrongSignature);
    assert_eq!(Signed { method: "PUT", ..vanilla() }.check(), wrong);
    assert_eq!(Signed { path: "/a", ..vanilla() }.check(), wrong);
    assert_eq!(Signed { query: Some("a=b"), ..vanilla() }.check(), wrong);
    assert_eq!(Signed { body: "a", ..vanilla() }.check(), wrong);
    assert_eq!(Signed { key: (AWS.0, "another secret of the key"), ..vanilla() }.check(), wrong);
    assert_eq!(vanilla().with("host", "other.example.com").check(), wrong);
    assert_eq!(vanilla().with("x-amz-target", "CodeDeploy_20141006.GetDeployment").check(), wrong, "it is not signed");
    assert_eq!(vanilla().with("x-amz-content-sha256", "UNSIGNED-PAYLOAD").check(), wrong);
    let unsigned_host = vanilla().with(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=x-amz-date, \
         Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
    assert_eq!(unsigned_host.check(), wrong);
}

#[test]
fn who_cannot_be_told_is_told_apart() {
    assert_eq!(Signed { key: ("AKIDOTHER", AWS.1), ..vanilla() }.check(), Err(FailureKind::UnknownKey));
    for (now, expected) in [
        (AWS_TIME + 900, Ok(())),
        (AWS_TIME - 900, Ok(())),
        (AWS_TIME + 901, Err(FailureKind::SkewedTime)),
        (AWS_TIME - 901, Err(FailureKind::SkewedTime)),
    ] {
        assert_eq!(Signed { now, ..vanilla() }.check(), expected);
    }
    assert_eq!(vanilla().with("x-amz-security-token", "t").check(), Err(FailureKind::SessionToken));
    let mut unsigned = vanilla();
    unsigned.headers.retain(|(name, _)| *name != "authorization");
    assert_eq!(unsigned.check(), Err(FailureKind::Unsigned));
    unsigned.query = Some("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=aa");
    assert_eq!(unsigned.check(), Err(FailureKind::UnknownForm));
    for text in [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 x",
        "AWS4-HMAC-SHA256 Credential=a/b, Signature=zz",
        "FC x",
        "FC x:=",
        "TC3-HMAC-SHA256 Credential=///",
        "ACS3-HMAC-SHA256 a=b",
    ] {
        let failed = vanilla().with("authorization", text).check();
        assert!(matches!(failed, Err(FailureKind::WrongSignature | FailureKind::UnknownKey)), "{text}: {failed:?}");
    }
}

/// A path of a client is encoded once on the wire, and once more in what is signed.
#[test]
fn paths_are_encoded_once_more() {
    assert_eq!(
        canonical::encoded_again("/functions/shop%3A%24LATEST/a-b_c.~"),
        "/functions/shop%253A%2524LATEST/a-b_c.~"
    );
}

/// The example of Tencent's documentation of version 3 of the signature.
#[test]
fn the_published_vector_of_tc3_passes() {
    let signed = || Signed {
        method: "POST",
        path: "/",
        query: None,
        headers: vec![
            ("host", "cvm.tencentcloudapi.com"),
            ("content-type", "application/json; charset=utf-8"),
            ("x-tc-action", "DescribeInstances"),
            ("x-tc-timestamp", "1551113065"),
            (
                "authorization",
                "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, \
                 SignedHeaders=content-type;host, \
                 Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
            ),
        ],
        body: r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#,
        key: ("AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"),
        now: 1_551_113_065,
    };
    assert_eq!(signed().check(), Ok(()));
    assert_eq!(Signed { body: "{}", ..signed() }.check(), Err(FailureKind::WrongSignature));
    assert_eq!(Signed { now: 1_551_114_000, ..signed() }.check(), Err(FailureKind::SkewedTime));
    assert_eq!(signed().with("x-tc-token", "t").check(), Err(FailureKind::SessionToken));
    assert_eq!(signed().with("x-tc-content-sha256", "UNSIGNED-PAYLOAD").check(), Err(FailureKind::WrongSignature));
}

/// Made by another implementation of what alibabacloud-tea-openapi 0.4.6 signs.
#[test]
fn acs3_covers_query_headers_and_body() {
    let signed = || Signed {
        method: "PUT",
        path: "/2023-03-30/functions/shop/aliases/prod",
        query: Some("b=x+y&a=%7E%2F"),
        headers: vec![
            ("host", "127.0.0.1:9901"),
            ("x-acs-date", "2026-11-26T12:00:00Z"),
            ("x-acs-signature-nonce", "n-1"),
            ("x-acs-content-sha256", "b1e4de144d5f32abd1a022610bc4bb6ddc33a0f9cb3d1353fdcf5efb0bf945ed"),
            (
                "authorization",
                "ACS3-HMAC-SHA256 Credential=AKID01,SignedHeaders=host;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce,Signature=72e65cdb85ee31404c1a0ecd46b8c962007a3294ee429795690ce4787fc23527",
            ),
        ],
        body: r#"{"versionId":"1"}"#,
        key: ("AKID01", "0123456789abcdef"),
        now: 1_795_694_400,
    };
    assert_eq!(signed().check(), Ok(()));
    assert_eq!(
        Signed { query: Some("a=%7E%2F&b=x%20y"), ..signed() }.check(),
        Ok(()),
        "the order and the spelling of a space do not count"
    );
    assert_eq!(Signed { query: Some("a=%7E%2F&b=z"), ..signed() }.check(), Err(FailureKind::WrongSignature));
    assert_eq!(Signed { body: "{}", ..signed() }.check(), Err(FailureKind::WrongSignature));
    assert_eq!(signed().with("x-acs-action", "GetAlias").check(), Err(FailureKind::WrongSignature), "it is not signed");
    assert_eq!(Signed { now: 1_795_695_301, ..signed() }.check(), Err(FailureKind::SkewedTime));
}

/// Made by another implementation of what aliyun-fc2 2.5.2 signs.
#[test]
fn the_old_form_covers_path_and_own_headers() {
    let signed = |path, query, authorization| Signed {
        method: "POST",
        path,
        query,
        headers: vec![
            ("host", "127.0.0.1:9901"),
            ("content-type", "application/json"),
            ("date", "Thu, 26 Nov 2026 12:00:00 GMT"),
            ("x-fc-log-type", "Tail"),
            ("x-fc-account-id", "1"),
            ("authorization", authorization),
        ],
        body: "{}",
        key: ("AKID01", "0123456789abcdef"),
        now: 1_795_694_400,
    };
    const INVOKE: &str = "/2016-08-15/services/shop.prod/functions/a%20b/invocations";
    assert_eq!(signed(INVOKE, None, "FC AKID01:GfB00LKgzsgT45T5y4VPsmrojGkWkWkWJ0pR1Ng3ynI=").check(), Ok(()));
    assert_eq!(
        signed(INVOKE, Some("x=1"), "FC AKID01:GfB00LKgzsgT45T5y4VPsmrojGkWkWkWJ0pR1Ng3ynI=").check(),
        Ok(()),
        "the query is not signed here"
    );
    assert_eq!(
        signed("/2016-08-15/services", None, "FC AKID01:GfB00LKgzsgT45T5y4VPsmrojGkWkWkWJ0pR1Ng3ynI=").check(),
        Err(FailureKind::WrongSignature)
    );
    const PROXY: &str = "/2016-08-15/proxy/shop/shop/x";
    assert_eq!(
        signed(PROXY, Some("b=2&a=%2F"), "FC AKID01:zTWYADD1YeCoPaZV0adBZJGZkecq0DATIomnqa66OxQ=").check(),
        Ok(())
    );
    assert_eq!(
        signed(PROXY, Some("b=3&a=%2F"), "FC AKID01:zTWYADD1YeCoPaZV0adBZJGZkecq0DATIomnqa66OxQ=").check(),
        Err(FailureKind::WrongSignature)
    );
    assert_eq!(signed(PROXY, None, "FC AKID01:nPuabmqwkiI7mrNY+oyld+z7vNhACddaJB0Yk70/u2k=").check(), Ok(()));
    let other =
        signed(INVOKE, None, "FC AKID01:GfB00LKgzsgT45T5y4VPsmrojGkWkWkWJ0pR1Ng3ynI=").with("x-fc-log-type", "None");
    assert_eq!(other.check(), Err(FailureKind::WrongSignature));
}

proptest! {
    #[test]
    fn no_authorization_does_more_than_fail(
        scheme in "AWS4-HMAC-SHA256|ACS3-HMAC-SHA256|FC|TC3-HMAC-SHA256|[ -~]{0,8}",
        rest in "((Credential|SignedHeaders|Signature)=[ -~]{0,40}, ?){0,3}[ -~]{0,40}|AKIDEXAMPLE:[ -~]{0,44}",
        query in "[!-~]{0,40}",
        time in "[0-9TZ:-]{0,20}",
    ) {
        let mut headers: HeaderMap = vanilla()
            .headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let authorization = format!("{scheme} {rest}");
        headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        headers.insert("x-tc-timestamp", HeaderValue::from_str(&time).unwrap());
        headers.insert("x-acs-date", HeaderValue::from_str(&time).unwrap());
        let request = SignedRequest { method: "GET", path: "/%", query: Some(&query), headers: &headers };
        let ring = KeyRing::of(AWS.0, AWS.1);
        let presented = present(&request, &ring, Duration::from_secs(AWS_TIME));
        prop_assert!(presented.and_then(|presented| presented.verify(&request, b"")).is_err());
    }
}
