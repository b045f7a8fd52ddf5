//! A disk of a few megabytes that a test can fill: a tmpfs that only the program under test has mounted.
//!
//! It needs no root if the system allows user namespaces (`unshare --user`), and root otherwise.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The disk, which exists as long as this value. A process that does nothing holds the namespace in which it is
/// mounted.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    holder: Child,
    place: PathBuf,
    is_of_user: bool,
}

impl SmallDisk {
    /// Mounts a disk of this many megabytes at this place, which becomes a directory.
    pub(crate) fn mount(place: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(place).unwrap();
        let script = format!(
            "mount -t tmpfs -o size={megabytes}m,mode=700 none \"$0\" && echo ready && exec sleep 3600"
        );
        for (is_of_user, namespaces) in
            [(true, &["--user", "--map-root-user", "--mount"][..]), (false, &["--mount"])]
        {
            let mut holder = Command::new("unshare")
                .args(namespaces)
                .args(["sh", "-c", &script])
                .arg(place)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap_or_else(|err| panic!("unshare, of the package util-linux: {err}"));
            let mut said = String::new();
            BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
            if said == "ready\n" {
                return Self { holder, place: place.to_owned(), is_of_user };
            }
            holder.wait().unwrap();
        }
        panic!("a disk cannot be mounted: allow user namespaces, or run the tests as root")
    }

    /// Returns the same command for a process that sees the disk.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.arg("--target").arg(self.holder.id().to_string()).arg("--mount");
        if self.is_of_user {
            entered.args(["--user", "--preserve-credentials"]);
        }
        entered.arg("--").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => entered.env(name, value),
                None => entered.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            entered.current_dir(directory);
        }
        entered.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        entered
    }

    /// Returns the path at which this process finds the content of the disk.
    pub(crate) fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.place.strip_prefix("/").unwrap())
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Fills the disk completely.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        for piece in [1 << 20, 4096] {
            while file.write_all(&vec![b'x'; piece]).is_ok() {}
        }
    }

    /// Frees some of the space.
    pub(crate) fn leave(&self, bytes: u64) {
        let ballast = File::options().write(true).open(self.ballast()).unwrap();
        ballast.set_len(ballast.metadata().unwrap().len() - bytes).unwrap();
    }

    /// Frees the space.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
