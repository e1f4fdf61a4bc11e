//! The certificates of the domains that are live, in memory: no file is touched here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::model::{Certificate, Config, DefaultCertificate};
use config::value::host::HostPattern;

use super::pair::{Found, News, Pair};
use crate::clock;
use crate::control::readers::Answer;
use crate::edge::tls::Certificates;
use crate::live::Unusable;

/// The time for which a pair of files stays known that no domain names: the domain that will name it may not be live yet.
const KEEP: Duration = Duration::from_secs(60);

/// Every pair of files that a domain names, and what handshakes see of them.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// The configuration whose domains are served.
    config: Config,
    entries: HashMap<Certificate, Entry>,
    /// The certificates that handshakes see.
    served: Certificates,
    /// Expiry and name of all that is served.
    ends: BTreeSet<(i64, Box<str>)>,
}

/// One pair of files and who names it.
#[derive(Debug)]
struct Entry {
    pair: Pair,
    names: BTreeSet<Name>,
    /// The time of the last look or naming.
    used: Instant,
}

/// One who names a pair of files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// `default_certificate`
    Default,
    /// A domain, by its host.
    Domain(Box<str>),
}

/// News of one pair of files, to be told.
pub(super) struct Told {
    pub(super) files: Certificate,
    pub(super) news: News,
    pub(super) names: Vec<Name>,
    /// The reason why the files cannot be used.
    pub(super) reason: Option<String>,
}

/// What clients of a name see while its files cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Meanwhile {
    /// Earlier content of the name's own.
    LastGood,
    /// The certificate of a wildcard above it.
    Wildcard,
    /// `default_certificate`, for names that are unknown.
    Default,
    /// An alert.
    Nothing,
}

impl Meanwhile {
    fn words(self) -> &'static str {
        match self {
            Self::LastGood => "the last good one is served",
            Self::Wildcard => "a wildcard's certificate is served",
            Self::Default => "the default certificate is served",
            Self::Nothing => "TLS is refused",
        }
    }
}

impl Name {
    fn of(host: &HostPattern) -> Self {
        Self::Domain(host.to_string().into())
    }

    /// The name as the status shows it.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Default => "default_certificate",
            Self::Domain(host) => host,
        }
    }
}

impl Pairs {
    /// Serves the domains of `config`: what is known of their files goes live at once, and a domain whose files are not
    /// known or not usable goes on with what it had. Answers what is to be told; `None` when nothing changed. Costs what
    /// differs.
    pub(super) fn serve(&mut self, config: &Config) -> Option<Vec<Told>> {
        let before = std::mem::replace(&mut self.config, config.clone());
        let mut renamed: Vec<(Name, Option<Certificate>, Option<Certificate>)> = config
            .certificates_unlike(&before)
            .map(|(host, now)| {
                let old = before.domains.get(host).and_then(|domain| domain.certificate.as_deref());
                (Name::of(host), old.cloned(), now.cloned())
            })
            .collect();
        let (old, new) = (&before.default_certificate, &config.default_certificate);
        if old != new {
            let files = |own: &Option<Arc<DefaultCertificate>>| own.as_ref().map(|own| own.files.clone());
            renamed.push((Name::Default, files(old), files(new)));
            self.served.set_default_for_unknown(new.as_ref().is_some_and(|own| own.unknown_names));
        }
        let (changed, mut told) = (!renamed.is_empty(), Vec::new());
        for (name, old, new) in renamed {
            if let Some(entry) = old.and_then(|old| self.entries.get_mut(&old)) {
                entry.names.remove(&name);
            }
            match new {
                None => self.hide(&name),
                Some(files) => {
                    self.entry(files.clone()).names.insert(name.clone());
                    self.show(&name, &files);
                    let wrong = self.entries.get(&files).and_then(|entry| entry.pair.wrong());
                    if let Some(reason) = wrong.map(|wrong| wrong.reason.clone()) {
                        told.push(Told { files, news: News::Broken, names: vec![name], reason: Some(reason) });
                    }
                }
            }
        }
        changed.then_some(told)
    }

    /// The certificates that handshakes see.
    pub(super) fn served(&self) -> &Certificates {
        &self.served
    }

    /// Every pair that is named.
    pub(super) fn named(&self) -> Vec<Certificate> {
        self.entries.iter().filter(|(_, entry)| !entry.names.is_empty()).map(|(files, _)| files.clone()).collect()
    }

    /// True if a pair is named that was not looked at yet.
    pub(super) fn lacks_any(&self) -> bool {
        self.entries.values().any(|entry| !entry.names.is_empty() && !entry.pair.is_known())
    }

    /// The pair of these files; a new one if it is not known.
    pub(super) fn pair(&mut self, files: &Certificate) -> &Pair {
        &self.entry(files.clone()).pair
    }

    /// Takes in what a look at these files found, and serves it.
    pub(super) fn take(&mut self, files: &Certificate, found: Answer<Found>) -> Option<Told> {
        let entry = self.entry(files.clone());
        let was_known = entry.pair.is_known();
        let news = entry.pair.take(files, found);
        let names: Vec<Name> = entry.names.iter().cloned().collect();
        let reason = entry.pair.wrong().map(|wrong| wrong.reason.clone());
        let news = match news {
            News::None => return None,
            News::Renewed => {
                names.iter().for_each(|name| self.show(name, files));
                // The first content of a file is served, and nothing to tell.
                if was_known { News::Renewed } else { News::None }
            }
            News::Mended | News::Broken => news,
        };
        Some(Told { files: files.clone(), news, names, reason })
    }

    /// Forgets pairs that no configuration names.
    pub(super) fn forget(&mut self) {
        self.entries.retain(|_, entry| !entry.names.is_empty() || entry.used.elapsed() < KEEP);
    }

    /// The names whose files cannot be used now, in order.
    pub(super) fn unusable(&self) -> Vec<Unusable> {
        let wrong = self.entries.values().filter_map(|entry| Some((entry.pair.wrong()?, &entry.names)));
        let each = wrong.flat_map(|(wrong, names)| {
            names.iter().map(|name| {
                let reason = format!("{}; {}", wrong.reason, self.meanwhile(name).words());
                Unusable { name: name.as_str().to_owned(), reason, since: wrong.since }
            })
        });
        let mut all: Vec<Unusable> = each.collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Name and expiry of those that expire first.
    pub(super) fn ends(&self, most: usize) -> Vec<(String, i64)> {
        self.ends.iter().take(most).map(|(end, name)| (name.to_string(), *end)).collect()
    }

    fn entry(&mut self, files: Certificate) -> &mut Entry {
        let entry = self.entries.entry(files);
        let entry =
            entry.or_insert_with(|| Entry { pair: Pair::default(), names: BTreeSet::new(), used: clock::now() });
        entry.used = clock::now();
        entry
    }

    /// Shows what is known of these files under this name, if anything is.
    fn show(&mut self, name: &Name, files: &Certificate) {
        let Some(good) = self.entries.get(files).and_then(|entry| entry.pair.good()).cloned() else { return };
        if let Name::Domain(host) = name {
            for warning in good.warnings(host, clock::unix()) {
                tracing::warn!("domains.\"{host}\".certificate: {}: {warning}", files.cert.display());
            }
        }
        self.ends.insert((good.not_after(), name.as_str().into()));
        let before = match name {
            Name::Default => self.served.set_default(Some(good.clone())),
            Name::Domain(host) => self.served.insert(host, good.clone()),
        };
        if let Some(before) = before.filter(|before| before.not_after() != good.not_after()) {
            self.ends.remove(&(before.not_after(), name.as_str().into()));
        }
    }

    /// What clients of these names see while the files cannot be used, in words: all of it where names differ.
    pub(super) fn shown_meanwhile(&self, names: &[Name]) -> String {
        let all: BTreeSet<Meanwhile> = names.iter().map(|name| self.meanwhile(name)).collect();
        all.into_iter().map(Meanwhile::words).collect::<Vec<_>>().join(" or ")
    }

    /// What a handshake with this name finds now.
    fn meanwhile(&self, name: &Name) -> Meanwhile {
        match name {
            Name::Default if self.served.without_name().is_some() => Meanwhile::LastGood,
            Name::Default => Meanwhile::Nothing,
            Name::Domain(host) if self.served.own(host).is_some() => Meanwhile::LastGood,
            // The `*` of a wildcard is a label like any other to the wildcards above it.
            Name::Domain(host) if self.served.find(host).is_some() => Meanwhile::Wildcard,
            Name::Domain(_) if self.served.for_unknown_name().is_some() => Meanwhile::Default,
            Name::Domain(_) => Meanwhile::Nothing,
        }
    }

    /// Shows nothing under this name any more.
    fn hide(&mut self, name: &Name) {
        let before = match name {
            Name::Default => self.served.set_default(None),
            Name::Domain(host) => self.served.remove(host),
        };
        if let Some(before) = before {
            self.ends.remove(&(before.not_after(), name.as_str().into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::pair::look;
    use super::*;

    fn config(folder: &Path, domains: &[(&str, &str)]) -> Config {
        let mut text = "functions: {shop: {draft: '10.0.0.1:80'}}\ndomains:\n".to_owned();
        for (host, name) in domains {
            let file = folder.join(name).display().to_string();
            let files = format!("{{cert: {file}.crt, key: {file}.key}}");
            text += &format!("  {host}: {{certificate: {files}, routes: [{{path: /*, to: shop}}]}}\n");
        }
        config::text::parse::parse(&text, &|_| None).unwrap().0
    }

    fn write(folder: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        fs::write(folder.join(format!("{name}.crt")), made.cert.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }

    fn look_at_all(pairs: &mut Pairs) {
        for files in pairs.named() {
            let found = look(&files, pairs.pair(&files).seen());
            pairs.take(&files, Answer::Done(found));
        }
    }

    #[test]
    fn a_domain_that_names_unusable_files_goes_on_with_what_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, mut pairs) = (folder.path(), Pairs::default());
        write(folder, "a");
        assert!(pairs.serve(&config(folder, &[("a.example", "a"), ("b.example", "a")])).unwrap().is_empty());
        assert!(pairs.lacks_any() && pairs.served().find("a.example").is_none(), "nobody looked yet");
        look_at_all(&mut pairs);
        assert!(!pairs.lacks_any() && pairs.unusable().is_empty());
        let first = Arc::clone(pairs.served().find("a.example").unwrap());
        assert!(Arc::ptr_eq(&first, pairs.served().find("b.example").unwrap()), "one pair is read once");
        assert_eq!(pairs.ends(9).len(), 2);

        // Another node of a fleet may have such files, and this one does not.
        pairs.serve(&config(folder, &[("a.example", "none"), ("c.example", "none")])).unwrap();
        look_at_all(&mut pairs);
        assert!(Arc::ptr_eq(&first, pairs.served().find("a.example").unwrap()));
        assert!(pairs.served().find("b.example").is_none(), "it is no domain any more");
        assert!(pairs.served().find("c.example").is_none(), "it had none");
        let unusable = pairs.unusable();
        let told: Vec<_> = unusable.iter().map(|thing| (&*thing.name, thing.reason.rsplit("; ").next())).collect();
        let expected = [("a.example", Some("the last good one is served")), ("c.example", Some("TLS is refused"))];
        assert_eq!(told, expected);
        assert_eq!(pairs.ends(9).len(), 1);

        write(folder, "none");
        look_at_all(&mut pairs);
        assert!(!Arc::ptr_eq(&first, pairs.served().find("a.example").unwrap()));
        assert!(pairs.served().find("c.example").is_some() && pairs.unusable().is_empty());
        assert!(pairs.serve(&config(folder, &[("a.example", "none"), ("c.example", "none")])).is_none(), "no change");
        // A domain that names files which are known to be unusable is told of at once.
        fs::write(folder.join("a.key"), "rubbish").unwrap();
        let files = Certificate { cert: folder.join("a.crt"), key: folder.join("a.key") };
        pairs.take(&files, Answer::Done(look(&files, None)));
        let told = pairs.serve(&config(folder, &[("d.example", "a")])).unwrap();
        assert_eq!((told.len(), told[0].names[0].as_str(), told[0].news == News::Broken), (1, "d.example", true));
    }

    #[test]
    fn what_is_served_in_place_of_an_unusable_certificate_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, mut pairs) = (folder.path(), Pairs::default());
        write(folder, "good");
        let mut config = config(
            folder,
            &[("a.example", "none"), ("'*.b.example'", "good"), ("c.b.example", "none"), ("'*.d.b.example'", "none")],
        );
        let files = Certificate { cert: folder.join("good.crt"), key: folder.join("good.key") };
        let said = |pairs: &Pairs| -> Vec<String> {
            let last = |thing: Unusable| format!("{}: {}", thing.name, thing.reason.rsplit("; ").next().unwrap());
            pairs.unusable().into_iter().map(last).collect()
        };
        let (wildcard, below) =
            ("*.d.b.example: a wildcard's certificate is served", "c.b.example: a wildcard's certificate is served");
        pairs.serve(&config).unwrap();
        look_at_all(&mut pairs);
        assert_eq!(said(&pairs), [wildcard, "a.example: TLS is refused", below]);
        config.default_certificate = Some(Arc::new(DefaultCertificate { files: files.clone(), unknown_names: false }));
        pairs.serve(&config).unwrap();
        assert_eq!(said(&pairs)[1], "a.example: TLS is refused", "it is for clients that name no host");
        config.default_certificate = Some(Arc::new(DefaultCertificate { files, unknown_names: true }));
        pairs.serve(&config).unwrap();
        assert_eq!(said(&pairs), [wildcard, "a.example: the default certificate is served", below]);
        let names = ["a.example", "c.b.example"].map(|host| Name::Domain(host.into()));
        assert_eq!(
            pairs.shown_meanwhile(&names),
            "a wildcard's certificate is served or the default certificate is served"
        );
    }
}
