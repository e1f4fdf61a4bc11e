//! The lanes that the binary under test has.

use super::weir::{PROCESS, folder, run};

/// One lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Pingora,
    Relay,
}

impl Lane {
    /// Every lane of the binary. Without the setting `lane` there is one.
    pub(crate) async fn all() -> Vec<Self> {
        if Self::Relay.is_known().await { vec![Self::Pingora, Self::Relay] } else { vec![Self::Pingora] }
    }

    /// A line of the process section that chooses it, if there is anything to choose.
    pub(crate) async fn setting(self) -> &'static str {
        match (Self::Relay.is_known().await, self) {
            (false, _) => "",
            (true, Self::Pingora) => "lane: pingora\n",
            (true, Self::Relay) => "lane: relay\n",
        }
    }

    async fn is_known(self) -> bool {
        let folder = folder();
        let word = format!("{self:?}").to_lowercase();
        let text = format!("{PROCESS}lane: {word}\nfunctions: {{a: {{versions: {{1: 'http://127.0.0.1:1'}}}}}}\n");
        std::fs::write(folder.path().join("weir.yaml"), text).expect("the test's folder can be written");
        run(folder.path(), &["validate", "weir.yaml"]).await.0 == Some(0)
    }
}
