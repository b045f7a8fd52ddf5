//! nginx with the nchan module, where it is installed.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::super::Outcome;
use super::super::bench::cores;
use super::workload::Workload;

const MODULE: &str = "ngx_nchan_module.so";
/// The directories where systems keep nginx's modules.
const MODULE_PLACES: [&str; 6] = [
    "/usr/lib/nginx/modules",
    "/usr/lib64/nginx/modules",
    "/usr/share/nginx/modules",
    "/usr/local/lib/nginx/modules",
    "/usr/local/libexec/nginx",
    "/etc/nginx/modules",
];
/// The directories where nginx may be although a user's `PATH` does not contain them.
const PROGRAM_PLACES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin"];
/// How long nginx may take to start.
const PATIENCE: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(20);

/// The nginx that was found on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    program: PathBuf,
    module: PathBuf,
}

/// A running nginx; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Installed {
    pub(crate) fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let places = env::split_paths(&path).chain(PROGRAM_PLACES.map(PathBuf::from));
        let program = places.map(|place| place.join("nginx")).find(|file| file.is_file())?;
        let mut modules = MODULE_PLACES.iter().map(|place| Path::new(place).join(MODULE));
        Some(Self { program, module: modules.find(|file| file.is_file())? })
    }

    /// Starts nginx, with room for a workload.
    pub(crate) fn start(&self, workload: &Workload) -> Outcome<Nginx> {
        let directory = TempDir::with_prefix("bench-")?;
        // nginx cannot report which port the system has assigned to it.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = directory.path().join("nginx.conf");
        fs::write(&file, self.configuration(address, workload))?;
        let child = Command::new(&self.program)
            .args(["-e", "stderr", "-p"])
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log"))?)
            .spawn()?;
        let mut nginx = Nginx { child, address, directory };
        nginx.wait_until_it_listens()?;
        Ok(nginx)
    }

    /// Returns a configuration with one worker for each core. It keeps messages as long as any subscriber may lag
    /// behind.
    fn configuration(&self, address: SocketAddr, workload: &Workload) -> String {
        let connections = workload.descriptors();
        let messages = workload.events().max(1);
        format!(
            "load_module {module};\n\
             daemon off;\n\
             pid nginx.pid;\n\
             error_log stderr error;\n\
             worker_processes {workers};\n\
             worker_rlimit_nofile {connections};\n\
             events {{\n  use epoll;\n  multi_accept on;\n  worker_connections {connections};\n}}\n\
             http {{\n  access_log off;\n  tcp_nodelay on;\n  keepalive_requests 4000000000;\n\
             {temporary}\
             \x20 client_body_buffer_size 16k;\n  nchan_shared_memory_size 1024M;\n\
             \x20 server {{\n    listen {address} reuseport backlog=4096;\n\
             \x20   location ~ ^/read/(\\d+)$ {{\n      nchan_subscriber eventsource;\n\
             \x20     nchan_channel_id $1;\n      nchan_subscriber_first_message newest;\n\
             \x20     nchan_eventsource_ping_interval 0;\n    }}\n\
             \x20   location ~ ^/write/(\\d+)$ {{\n      nchan_publisher;\n      nchan_channel_id $1;\n\
             \x20     nchan_message_buffer_length {messages};\n      nchan_message_timeout 1h;\n    }}\n\
             \x20 }}\n}}\n",
            module = self.module.display(),
            workers = cores(),
            temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|what| format!("  {what}_temp_path {what};\n"))
                .concat(),
        )
    }
}

impl Nginx {
    /// Returns the id of its first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the path where the events of a task are read.
    pub(crate) fn reading(task: u64) -> String {
        format!("/read/{task}")
    }

    /// Returns the path where the events of a task are written.
    pub(crate) fn writing(task: u64) -> String {
        format!("/write/{task}")
    }

    fn wait_until_it_listens(&mut self) -> Outcome<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if self.child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                let said = fs::read_to_string(self.directory.path().join("log"))?;
                return Err(format!("nginx did not start: {}", said.trim()).into());
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The first process ends the others when it is terminated, but not when it is killed.
        if kill_process(Pid::from_child(&self.child), Signal::TERM).is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
