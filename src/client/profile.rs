//! The server and key to use, from the flags, the environment and the login file.

use std::path::PathBuf;

use super::address::{BaseUrl, DEFAULT, NotABaseUrl};
use super::login::{Login, LoginError};
use crate::secret::Secret;
use crate::setting::{NotText, Variables};

/// The URL and the key that one source gives: the flags or the environment.
#[derive(Debug, Clone, Default)]
pub struct ProfileInput {
    /// The base of the server's URLs.
    pub url: Option<String>,
    /// The key.
    pub key: Option<Secret>,
}

/// The server to call, and the key to call it with.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The server.
    pub url: BaseUrl,
    /// The key.
    pub key: Secret,
    /// The model of requests that name no model.
    pub model: Option<String>,
    /// A PEM file with the certificate authorities to trust instead of the public ones.
    pub ca: Option<PathBuf>,
}

/// Why there is no server or key to use.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The URL is invalid.
    #[error(transparent)]
    Url(#[from] NotABaseUrl),
    /// There is no key.
    #[error(
        "no API key for {0}: log in with `hearken login --url {0}`, set HEARKEN_API_KEY, or pass --key; \
         `hearken keys create NAME` creates one on the server's machine"
    )]
    NoKey(BaseUrl),
    /// The key is empty.
    #[error(
        "the API key is empty: if it comes from a variable, as in --key \"$KEY\", set that variable; without --key, \
         hearken uses HEARKEN_API_KEY or the key of the login"
    )]
    EmptyKey,
    /// The key is in quotes, as an env file of Docker keeps them.
    #[error("the API key is in quotes, which would be a part of it; remove the quotes")]
    QuotedKey,
    /// The key contains characters that no key has.
    #[error("the API key contains characters that no key has; copy it again")]
    OddKey,
    /// A variable is not valid text.
    #[error(transparent)]
    Variable(#[from] NotText),
    /// The login file exists, and it cannot be used.
    #[error(transparent)]
    Login(#[from] LoginError),
}

impl ProfileInput {
    /// Reads `HEARKEN_URL` and `HEARKEN_API_KEY`; an empty variable counts as not set.
    ///
    /// # Errors
    /// When one of them is not valid text.
    pub fn from_environment() -> Result<Self, NotText> {
        let variables = Variables::of_process();
        let text = |name: &str| {
            let text = variables.text(name)?.filter(|text| !text.trim().is_empty());
            Ok(text.map(str::to_owned))
        };
        Ok(Self { url: text("HEARKEN_URL")?, key: text("HEARKEN_API_KEY")?.map(Secret::new) })
    }
}

impl Profile {
    /// Returns the server that the flags, the environment or the login file name, in this order.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub fn server(
        flags: &ProfileInput,
        environment: &ProfileInput,
        login: Option<&Login>,
    ) -> Result<BaseUrl, NotABaseUrl> {
        match (flags.url.as_ref().or(environment.url.as_ref()), login) {
            (Some(url), _) => url.parse(),
            (None, Some(login)) => Ok(login.url.clone()),
            (None, None) => DEFAULT.parse(),
        }
    }

    /// Returns a key in the form that a header can hold.
    ///
    /// # Errors
    /// When the key is empty or cannot be sent.
    pub fn checked_key(key: &Secret) -> Result<Secret, ProfileError> {
        let text = key.expose().trim();
        if text.is_empty() {
            return Err(ProfileError::EmptyKey);
        }
        if let [quote @ (b'"' | b'\''), .., last] = text.as_bytes()
            && quote == last
        {
            return Err(ProfileError::QuotedKey);
        }
        let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Secret::new(text.to_owned())) } else { Err(ProfileError::OddKey) }
    }

    /// Finds the server and the key. Flags take precedence over the environment, and the environment over the login
    /// file. The key of the login file is only for the server of that file. It is not sent to another server that a
    /// flag or a variable names.
    ///
    /// # Errors
    /// When the URL is invalid, or there is no usable key. An unusable login file is an error only if it is needed.
    pub fn find(
        flags: &ProfileInput,
        environment: &ProfileInput,
        login: Result<Option<Login>, LoginError>,
    ) -> Result<Self, ProfileError> {
        let given = flags.key.as_ref().or(environment.key.as_ref());
        let login = match login {
            Ok(login) => login,
            Err(_) if given.is_some() => None,
            Err(err) => return Err(err.into()),
        };
        let url = Self::server(flags, environment, login.as_ref())?;
        let login = login.filter(|login| login.url == url);
        let key = given.or(login.as_ref().map(|login| &login.key));
        let key = Self::checked_key(key.ok_or_else(|| ProfileError::NoKey(url.clone()))?)?;
        let (model, ca) = login.map_or((None, None), |login| (login.model, login.ca));
        Ok(Self { url, key, model, ca })
    }

    /// Finds the server and the key from the given flags, and the environment and login file of this process.
    ///
    /// # Errors
    /// As [`Profile::find`].
    pub fn of_process(flags: &ProfileInput) -> Result<Self, ProfileError> {
        let login = Login::path().map_or(Ok(None), |path| Login::read(&path));
        Self::find(flags, &ProfileInput::from_environment()?, login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(url: Option<&str>, key: Option<&str>) -> ProfileInput {
        ProfileInput { url: url.map(str::to_owned), key: key.map(|key| Secret::new(key.to_owned())) }
    }

    fn login() -> Login {
        let url = "http://file".parse().unwrap();
        Login { url, key: Secret::new("file".into()), model: Some("m".into()), ca: None }
    }

    fn find(
        flags: &ProfileInput,
        environment: &ProfileInput,
        login: Option<Login>,
    ) -> (String, String, Option<String>) {
        let found = Profile::find(flags, environment, Ok(login)).unwrap();
        (found.url.to_string(), found.key.expose().to_owned(), found.model)
    }

    #[test]
    fn flags_take_precedence_over_the_environment_and_the_file() {
        let (nothing, key) = (ProfileInput::default(), |key| said(None, Some(key)));
        let model = Some("m".to_owned());
        let at_file = |key: &str| ("http://file".to_owned(), key.to_owned(), model.clone());
        assert_eq!(find(&nothing, &nothing, Some(login())), at_file("file"));
        assert_eq!(find(&nothing, &key("env"), Some(login())), at_file("env"));
        assert_eq!(find(&key("flag"), &key("env"), Some(login())), at_file("flag"));
        let both = (&said(Some("http://flag"), None), &said(Some("http://env"), Some("env")));
        assert_eq!(find(both.0, both.1, Some(login())), ("http://flag".into(), "env".into(), None));
        assert_eq!(find(&nothing, both.1, Some(login())), ("http://env".into(), "env".into(), None));
        assert_eq!(find(&nothing, &key("env"), None), (DEFAULT.into(), "env".into(), None));
    }

    #[test]
    fn the_key_in_the_login_file_is_not_sent_to_another_server() {
        let err =
            Profile::find(&said(Some("http://other"), None), &ProfileInput::default(), Ok(Some(login())))
                .unwrap_err();
        assert!(err.to_string().contains("no API key for http://other"), "{err}");
        let same = said(Some("http://file/"), None);
        assert_eq!(find(&same, &ProfileInput::default(), Some(login())).1, "file");
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_refused() {
        for key in ["", " ", "sk-\u{e9}", "a b", "a\nb", "\"sk-1\"", "'sk-1'"] {
            assert!(
                Profile::find(&said(None, Some(key)), &ProfileInput::default(), Ok(None)).is_err(),
                "{key:?}"
            );
        }
        assert_eq!(find(&said(None, Some(" sk-1\n")), &ProfileInput::default(), None).1, "sk-1");
    }
}
