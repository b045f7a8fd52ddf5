//! Follows the files of the certificate. After a change, new connections get the new certificate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::certificate::{Certificate, CertificateError, Pair};
use crate::config::TlsConfig;

/// The interval between two readings of the files. They are small, and a reading notices every kind of change, also
/// with links and mounts.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// The interval between two warnings in the log about a certificate that is about to expire.
const REMINDER: Duration = Duration::from_secs(24 * 60 * 60);

/// Watches the files.
struct CertificateFollower {
    config: TlsConfig,
    newest: watch::Sender<Arc<Certificate>>,
    /// The pair that was checked and logged last.
    checked: Result<Pair, CertificateError>,
    /// The pair that was read last.
    read: Result<Pair, CertificateError>,
}

/// Returns a receiver of the newest certificate in these files. The files are read every few seconds, and at once on
/// `hang_up`.
///
/// # Errors
/// [`CertificateError`] if the first certificate cannot be used.
pub(super) fn follow(
    config: TlsConfig,
    hang_up: Signal,
) -> Result<watch::Receiver<Arc<Certificate>>, CertificateError> {
    let pair = Pair::read(&config)?;
    let certificate = Certificate::check(&pair, &config)?;
    tracing::info!("TLS with a certificate {certificate}");
    warn_of_fault(&certificate);
    let (newest, certificates) = watch::channel(Arc::new(certificate));
    let follower = CertificateFollower { config, newest, checked: Ok(pair.clone()), read: Ok(pair) };
    actix_rt::spawn(follower.run(hang_up));
    Ok(certificates)
}

/// Handles SIGHUP for a server without TLS: writes a log line. Without a handler the signal would end the server.
pub(super) fn without_tls(mut hang_up: Signal) {
    actix_rt::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::info!("SIGHUP: there is no certificate to read again, because [tls] is not configured");
        }
    });
}

impl CertificateFollower {
    async fn run(mut self, mut hang_up: Signal) {
        let mut checks = interval(CHECK_INTERVAL);
        // After a check that a slow disk delayed, the next check waits for a whole interval, because a change must last
        // from one check to the next.
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reminders = interval_at(Instant::now() + REMINDER, REMINDER);
        loop {
            tokio::select! {
                _ = checks.tick() => self.check(false).await,
                Some(()) = hang_up.recv() => self.check(true).await,
                _ = reminders.tick() => warn_of_fault(&self.newest.borrow()),
            }
        }
    }

    /// Reads the files. A renewal writes one file after the other, so a change takes effect only when it has lasted
    /// from one check to the next, unless `at_once` is set.
    async fn check(&mut self, at_once: bool) {
        let config = self.config.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || Pair::read(&config)).await else { return };
        let is_unchanged = read == std::mem::replace(&mut self.read, read.clone());
        if at_once || (is_unchanged && read != self.checked) {
            self.checked = read.clone();
            match read.and_then(|pair| Certificate::check(&pair, &self.config)) {
                Ok(certificate) => {
                    let certificate = Arc::new(certificate);
                    self.newest.send_replace(Arc::clone(&certificate));
                    tracing::info!("new connections get the certificate {certificate}");
                    warn_of_fault(&certificate);
                }
                Err(err) => {
                    let old = Arc::clone(&self.newest.borrow());
                    tracing::error!("{err}; until this is fixed, new connections get the certificate {old}");
                }
            }
        }
    }
}

fn warn_of_fault(certificate: &Certificate) {
    if let Some(warning) = certificate.warning(SystemTime::now()) {
        tracing::warn!("{warning}");
    }
}
