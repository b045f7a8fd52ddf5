//! nginx, with `deploy/nginx/hearken.conf`.

use std::process::Command;

use serde_json::json;

use super::{END, Place, Proxy, adapted, proxy_suite};
use crate::support::hearken::Hearken;
use crate::support::upstream::FakeUpstream;

proxy_suite!(nginx);

fn nginx(hearken: &Hearken) -> Proxy {
    nginx_with(hearken, &[])
}

/// Starts nginx in front of this program, with its file of `deploy/`, in which some texts are replaced.
fn nginx_with(hearken: &Hearken, replaced: &[(&str, &str)]) -> Proxy {
    let place = Place::new();
    let (ours, listen) = (hearken.client().address.to_string(), format!("listen {} ", place.address));
    let names = [
        ("127.0.0.1:8080", ours.as_str()),
        ("listen 443 ", &listen),
        ("/etc/letsencrypt/live/hearken.example.com/fullchain.pem", "cert.pem"),
        ("/etc/letsencrypt/live/hearken.example.com/privkey.pem", "key.pem"),
    ];
    let lines = adapted("nginx/hearken.conf", &[&names[..], replaced].concat());
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths: String = paths.iter().map(|name| format!("{name}_temp_path {name};\n")).collect();
    let file = format!(
        "user root;\ndaemon off;\npid nginx.pid;\nerror_log stderr;\nworker_processes 1;\n\
         events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{paths}{lines}}}\n"
    );
    let path = place.directory.path().join("nginx.conf");
    std::fs::write(&path, file).unwrap();
    // Debian installs nginx in a folder that only root has in its PATH.
    let search = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new("nginx");
    command.env("PATH", search).arg("-p").arg(place.directory.path()).arg("-c").arg(path);
    // At this signal, the master process ends its worker. If it is killed, it does not.
    place.start(&mut command, "TERM")
}

#[test]
fn comments_keep_a_silent_stream_open() {
    let upstream = FakeUpstream::gemini().hold().say("late").start();
    let hearken = Hearken::before(&upstream).set("[stream]\nkeep_alive_seconds = 1").start();
    let nginx = nginx_with(&hearken, &[("proxy_read_timeout 1h", "proxy_read_timeout 2s")]);
    let mut client = nginx.connect();
    let id = client.submit(json!({"stream": true}));
    let mut answer = client.stream(&id, "");
    // The first one comes with the head, and each further one a second after the previous one.
    for _ in 0..4 {
        client.read_to(&mut answer, ": keep-alive\n");
    }
    upstream.release();
    let rest = client.rest(answer);
    assert!(rest.contains("\"late\"") && rest.ends_with(END), "{rest}");
}
