//! The login file: the server, key and model to use when neither flags nor the environment name them.
//!
//! A server stores hashes, but a client must store the key itself. So only the file's user may read it, and a file that
//! others may read is not used.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::address::{BaseUrl, NotABaseUrl};
use crate::secret::Secret;

/// The permission bits of other users. Neither the file nor its directory may have any of them.
const OTHERS: u32 = 0o077;

/// The values that `hearken login` saves.
#[derive(Debug, Clone)]
pub struct Login {
    /// The server.
    pub url: BaseUrl,
    /// The key, for this server only.
    pub key: Secret,
    /// The model of requests that name no model.
    pub model: Option<String>,
    /// A PEM file with the certificate authorities to trust instead of the public ones.
    pub ca: Option<PathBuf>,
}

/// A login file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Other users may read the file.
    #[error("{path} holds a key, and other users may read it; make it private with: chmod 600 {path}")]
    Open {
        /// The file.
        path: String,
    },
    /// The file cannot be read or written.
    #[error("{path} cannot be used: {err}")]
    Io {
        /// The file.
        path: String,
        /// The reason.
        err: io::Error,
    },
    /// The file's content is not a login.
    #[error("{path} is not a login file: {reason}; write it again with `hearken login`")]
    Invalid {
        /// The file.
        path: String,
        /// The reason, without any word of the file.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    url: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

impl Login {
    /// Returns the path of the login file, by the XDG base directories; `None` for a user without a home directory.
    #[must_use]
    pub fn path() -> Option<PathBuf> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
        Some(config.join("hearken").join("login.toml"))
    }

    /// Reads a login file; returns `None` if there is none.
    ///
    /// # Errors
    /// When the file exists and cannot be used.
    pub fn read(path: &Path) -> Result<Option<Self>, LoginError> {
        let failed = |err| LoginError::Io { path: path.display().to_string(), err };
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(err) => return Err(failed(err)),
        };
        if file.metadata().map_err(failed)?.permissions().mode() & OTHERS != 0 {
            return Err(LoginError::Open { path: path.display().to_string() });
        }
        let invalid = |reason| LoginError::Invalid { path: path.display().to_string(), reason };
        let text = io::read_to_string(&mut file).map_err(failed)?;
        // Only the message: the rest of the error shows the line, which may hold the key.
        let File { url, key, model, ca } =
            toml::from_str(&text).map_err(|err| invalid(err.message().replace('\n', " ")))?;
        let url = url.parse().map_err(|err: NotABaseUrl| invalid(err.to_string()))?;
        Ok(Some(Self { url, key: Secret::new(key), model, ca }))
    }

    /// Writes a login file for its user only, atomically.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LoginError> {
        let failed = |err| LoginError::Io { path: path.display().to_string(), err };
        let file = File {
            url: self.url.to_string(),
            key: self.key.expose().to_owned(),
            model: self.model.clone(),
            ca: self.ca.clone(),
        };
        let text = toml::to_string(&file).map_err(io::Error::other).map_err(failed)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let write = || {
            let mut fresh = tempfile::NamedTempFile::new_in(directory)?;
            fresh.as_file().set_permissions(Permissions::from_mode(0o600))?;
            fresh.write_all(b"# Made by `hearken login`. It holds a key: keep it private.\n")?;
            fresh.write_all(text.as_bytes())?;
            fresh.as_file().sync_all()?;
            fresh.persist(path)?;
            Ok(())
        };
        write().map_err(failed)
    }

    /// Deletes a login file. Returns true if there was one.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub fn delete(path: &Path) -> Result<bool, LoginError> {
        match std::fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(err) => Err(LoginError::Io { path: path.display().to_string(), err }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        let url = "http://h:1".parse().unwrap();
        Login { url, key: Secret::new("sk-\"odd".into()), model: Some("m".into()), ca: None }
    }

    #[test]
    fn a_login_file_keeps_its_content_and_is_private_to_its_user() {
        let home = tempfile::TempDir::new().unwrap();
        let path = home.path().join("config/hearken/login.toml");
        assert!(Login::read(&path).unwrap().is_none());
        login().write(&path).unwrap();
        login().write(&path).unwrap();
        let found = Login::read(&path).unwrap().unwrap();
        assert_eq!((found.url, found.key.expose(), found.model), (login().url, "sk-\"odd", Some("m".into())));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
        assert!(Login::delete(&path).unwrap() && !Login::delete(&path).unwrap());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_fix() {
        let home = tempfile::TempDir::new().unwrap();
        let path = home.path().join("login.toml");
        login().write(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let err = Login::read(&path).unwrap_err().to_string();
        assert!(err.contains(&format!("chmod 600 {}", path.display())), "{err}");
    }

    #[test]
    fn the_error_for_a_broken_file_does_not_show_its_key() {
        let home = tempfile::TempDir::new().unwrap();
        let path = home.path().join("login.toml");
        for text in
            ["key = \"sk-secret\"", "url = \"h\"\nkey = \"sk-secret\"", "url = \"http://h\"\nkey = sk-secret"]
        {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let err = Login::read(&path).unwrap_err().to_string();
            assert!(err.contains("hearken login") && !err.contains("sk-secret"), "{err}");
        }
    }
}
