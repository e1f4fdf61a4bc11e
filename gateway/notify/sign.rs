//! Signatures that receivers ask for, all of them HMAC-SHA256.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// DingTalk: base64 of the MAC over `milliseconds \n secret`, keyed with the secret. For a query it is still to be
/// encoded. <https://open.dingtalk.com/document/robots/customize-robot-security-settings>
pub(super) fn dingtalk(milliseconds: u128, secret: &str) -> String {
    STANDARD.encode(mac(secret.as_bytes(), format!("{milliseconds}\n{secret}").as_bytes()))
}

/// Feishu: base64 of the MAC over nothing, keyed with `seconds \n secret`.
/// <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>
pub(super) fn feishu(seconds: u64, secret: &str) -> String {
    STANDARD.encode(mac(format!("{seconds}\n{secret}").as_bytes(), b""))
}

/// Ours, in the shape of Stripe's: `t=SECONDS,v1=HEX` with the MAC over `seconds . body`.
pub(super) fn webhook(seconds: u64, body: &str, secret: &str) -> String {
    let mac = mac(secret.as_bytes(), format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex::encode(mac))
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1700000000000\nSEC0123' | openssl dgst -sha256 -hmac SEC0123 -binary | base64`
    #[test]
    fn dingtalk_signs_as_openssl_does() {
        assert_eq!(dingtalk(1_700_000_000_000, "SEC0123"), "2lI0CLA9w0NryWAswdWUgPoOvPXo1wScAKa+6Qn+lxQ=");
    }

    /// `printf '' | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(printf '1700000000\nSEC0123' | xxd -p) -binary | base64`
    #[test]
    fn feishu_signs_as_openssl_does() {
        assert_eq!(feishu(1_700_000_000, "SEC0123"), "qHciSveWC1yukCm6qZczwRMZA4/T30xADh2p9zCNYYY=");
    }

    /// `printf '1700000000.{"text":"发布"}' | openssl dgst -sha256 -hmac SEC0123`
    #[test]
    fn webhooks_are_signed_as_openssl_does() {
        let signature = "t=1700000000,v1=426738fcff90340c19ebf4bd634f91495d03d1dcc2a470f30a7ae886d0998ec3";
        assert_eq!(webhook(1_700_000_000, "{\"text\":\"发布\"}", "SEC0123"), signature);
    }
}
