//! Follows the files of the certificate: later connections get a new pair.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::certificate::{Certificate, CertificateError, Pair};
use crate::config::TlsConfig;

/// How often the files are read. They are small, and reading them is the only way that works with links, mounts and
/// other ways to replace a file.
const LOOK: Duration = Duration::from_secs(2);
/// How often the log warns of a certificate that is about to expire.
const REMINDER: Duration = Duration::from_secs(24 * 60 * 60);

/// Watches the files.
struct Follower {
    config: TlsConfig,
    newest: watch::Sender<Arc<Certificate>>,
    /// The pair that was checked and logged last.
    judged: Result<Pair, CertificateError>,
    /// The pair that was read last.
    read: Result<Pair, CertificateError>,
}

/// Returns the certificate of these files, now and whenever it changes. The files are read every few seconds, and at
/// once on `hang_up`.
///
/// # Errors
/// [`CertificateError`] if the first certificate cannot be used.
pub(super) fn follow(
    config: TlsConfig,
    hang_up: Signal,
) -> Result<watch::Receiver<Arc<Certificate>>, CertificateError> {
    let pair = Pair::read(&config)?;
    let certificate = Certificate::judge(&pair, &config)?;
    tracing::info!("TLS with a certificate {certificate}");
    remind(&certificate);
    let (newest, certificates) = watch::channel(Arc::new(certificate));
    let follower = Follower { config, newest, judged: Ok(pair.clone()), read: Ok(pair) };
    actix_rt::spawn(follower.run(hang_up));
    Ok(certificates)
}

/// Logs SIGHUP without TLS, where there is nothing to read again. Without a handler the signal would end the server.
pub(super) fn without(mut hang_up: Signal) {
    actix_rt::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::info!("SIGHUP: there is no certificate to read again, because [tls] is not configured");
        }
    });
}

impl Follower {
    async fn run(mut self, mut hang_up: Signal) {
        let mut looks = interval(LOOK);
        // After a disk that hung, two checks must not follow at once: a change must last from one check to the next.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reminders = interval_at(Instant::now() + REMINDER, REMINDER);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(false).await,
                Some(()) = hang_up.recv() => self.look(true).await,
                _ = reminders.tick() => remind(&self.newest.borrow()),
            }
        }
    }

    /// Reads the files. A renewal writes one file after the other, so a change takes effect only when it has lasted
    /// from one check to the next, unless `at_once` is set.
    async fn look(&mut self, at_once: bool) {
        let config = self.config.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || Pair::read(&config)).await else { return };
        let lasts = read == std::mem::replace(&mut self.read, read.clone());
        if at_once || (lasts && read != self.judged) {
            self.judged = read.clone();
            match read.and_then(|pair| Certificate::judge(&pair, &self.config)) {
                Ok(certificate) => {
                    let certificate = Arc::new(certificate);
                    self.newest.send_replace(Arc::clone(&certificate));
                    tracing::info!("new connections get the certificate {certificate}");
                    remind(&certificate);
                }
                Err(err) => {
                    let old = Arc::clone(&self.newest.borrow());
                    tracing::error!("{err}; until then new connections get the certificate {old}");
                }
            }
        }
    }
}

fn remind(certificate: &Certificate) {
    if let Some(warning) = certificate.warning(SystemTime::now()) {
        tracing::warn!("{warning}");
    }
}
