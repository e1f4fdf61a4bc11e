//! The folder that relative names of files are taken in: that of the configuration file, whatever the working directory is.

use std::path::{Path, PathBuf};

use config::model::{AccessLog, AccessTarget, AdminListener, Certificate};

/// The folder of a configuration file. Without one, relative names are taken in the working directory.
#[derive(Debug, Clone, Default)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder in which this file is, as it is named: links are not followed, so that files beside a link are meant.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self(file.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// The whole path of a file.
    #[must_use]
    pub fn file(&self, named: &Path) -> PathBuf {
        self.0.join(named)
    }

    /// A certificate by its whole paths.
    #[must_use]
    pub fn certificate(&self, named: &Certificate) -> Certificate {
        Certificate { cert: self.file(&named.cert), key: self.file(&named.key) }
    }

    /// An access log by its whole path.
    #[must_use]
    pub fn access_log(&self, named: &AccessLog) -> AccessLog {
        match &named.to {
            AccessTarget::File(path) => AccessLog { to: AccessTarget::File(self.file(path)), ..named.clone() },
            _ => named.clone(),
        }
    }

    /// The certificate of the admin listener by its whole paths.
    #[must_use]
    pub fn admin(&self, named: &AdminListener) -> AdminListener {
        match named {
            AdminListener::Tcp { address, tls: Some(files), insecure } => {
                AdminListener::Tcp { address: *address, tls: Some(self.certificate(files)), insecure: *insecure }
            }
            _ => named.clone(),
        }
    }
}
