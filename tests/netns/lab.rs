//! Hosts on a bridge. The bridge is in a namespace of its own: nothing is left in the one of the machine.
//!
//! ```text
//!   namespace of host a             namespace of the hub             namespace of host b
//!   eth0 10.77.0.1  ──── veth ────  a ── bridge br ── b  ──── veth ────  eth0 10.77.0.2
//! ```
//! Faults are those of the network: rules of nftables on the bridge, of which no host knows.

use std::{
    cell::RefCell,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::Write,
    net::Ipv4Addr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use rustix::{
    process::geteuid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::place::place;

/// Where `ip netns exec` finds files that stand in for those in `/etc`.
const ETC: &str = "/etc/netns";

/// A network for one test.
pub(crate) struct Lab {
    pub(crate) dir: PathBuf,
    hub: Namespace,
    rules: RefCell<Vec<String>>,
    /// Whether this made `ETC`.
    made_etc: bool,
    _machine: File,
}

/// One host: a network namespace with one interface.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
    namespace: Namespace,
    hub: String,
}

/// Removed when it is dropped. It lives on, without a name, while processes run in it.
struct Namespace(String);

impl Lab {
    /// None, with a message, where this is not permitted.
    pub(crate) fn new() -> Option<Self> {
        if let Err(reason) = permitted() {
            assert!(
                std::env::var_os("NOEX_REQUIRE_NETNS").is_none_or(|required| required != "1"),
                "NOEX_REQUIRE_NETNS is 1, but network namespaces cannot be used: {reason}"
            );
            println!("skipped: {reason}");
            return None;
        }
        let (dir, machine) = place("netns");
        let hub = Namespace::new("hub");
        hub.ip("link set dev lo up\nlink add name br type bridge\nlink set dev br up\n");
        let made_etc = !Path::new(ETC).exists();
        let lab = Self { dir, hub, rules: RefCell::default(), made_etc, _machine: machine };
        lab.nft(
            "table bridge faults { chain passing { type filter hook forward priority 0; policy accept; }; }",
        );
        Some(lab)
    }

    /// A host with the address 10.77.0.n.
    pub(crate) fn host(&self, name: &str, n: u8) -> Host {
        let (namespace, ip) = (Namespace::new(name), Ipv4Addr::new(10, 77, 0, n));
        self.hub.ip(&format!("link add name {name} type veth peer name eth0 netns {}\n", namespace.0));
        self.hub.ip(&format!("link set dev {name} master br\nlink set dev {name} up\n"));
        namespace.ip(&format!("link set dev lo up\naddr add {ip}/24 dev eth0\nlink set dev eth0 up\n"));
        let host = Host { name: name.to_owned(), ip, namespace, hub: self.hub.0.clone() };
        host.hosts(&[]);
        host
    }

    /// Cuts the way from each of these hosts to each of those.
    pub(crate) fn cut(&self, from: &[&Host], to: &[&Host]) {
        self.each_way(from, to, "counter drop");
    }

    /// Cuts both ways.
    pub(crate) fn partition(&self, some: &[&Host], others: &[&Host]) {
        self.cut(some, others);
        self.cut(others, some);
    }

    /// Loses so many packets of a hundred on the way from each of these hosts to each of those, at random.
    pub(crate) fn lose(&self, percent: u8, from: &[&Host], to: &[&Host]) {
        self.each_way(from, to, &format!("numgen random mod 100 < {percent} counter drop"));
    }

    fn each_way(&self, from: &[&Host], to: &[&Host], verdict: &str) {
        let ways = from.iter().flat_map(|from| to.iter().map(|to| (&from.name, &to.name)));
        let rules = ways.map(|(from, to)| format!("iifname \"{from}\" oifname \"{to}\" {verdict}"));
        self.rules.borrow_mut().extend(rules);
        self.apply();
    }

    /// The network is well again.
    pub(crate) fn heal(&self) {
        self.rules.borrow_mut().clear();
        self.apply();
    }

    /// The network is well again, but for the way between some and others.
    pub(crate) fn heal_but(&self, some: &[&Host], others: &[&Host]) {
        self.rules.borrow_mut().clear();
        self.partition(some, others);
    }

    fn apply(&self) {
        let mut text = "flush chain bridge faults passing\n".to_owned();
        for rule in &*self.rules.borrow() {
            text.push_str(&format!("add rule bridge faults passing {rule}\n"));
        }
        self.nft(&text);
    }

    /// How many packets the faults took since the last change of them.
    pub(crate) fn dropped(&self) -> u64 {
        let text = self.hub.run(&["nft", "list", "table", "bridge", "faults"], "");
        let counts = text.split("counter packets ").skip(1);
        counts.map(|rest| rest.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Narrows the way to a host: so many megabits in a second, of which up to 200 ms wait in the network.
    pub(crate) fn narrow(&self, to: &Host, megabits: u32) {
        let rate = format!("{megabits}mbit");
        let limits = ["rate", &rate, "burst", "16kb", "latency", "200ms"];
        let tbf = ["tc", "qdisc", "add", "dev", &to.name, "root", "tbf"];
        self.hub.run(&[&tbf[..], &limits].concat(), "");
    }

    fn nft(&self, text: &str) {
        self.hub.run(&["nft", "-f", "-"], text);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.made_etc {
            let _ = fs::remove_dir(ETC);
        }
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Host {
    /// A command that runs on this host.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.0]).arg(program);
        command
    }

    /// Does something on a thread of this host. Threads and sockets that come of it are of this host, too.
    pub(crate) fn within<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(&self.namespace.0)).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                f()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What names this host knows. Processes that run see the change.
    pub(crate) fn hosts(&self, names: &[(&str, Ipv4Addr)]) {
        let dir = Path::new(ETC).join(&self.namespace.0);
        fs::create_dir_all(&dir).unwrap();
        let lines = names.iter().map(|(name, ip)| format!("{ip} {name}\n"));
        // In place: what a process sees is this file, wherever its name leads later.
        fs::write(dir.join("hosts"), lines.fold("127.0.0.1 localhost\n".to_owned(), |all, l| all + &l))
            .unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // With its namespace the cable goes a moment later, and another host of the name could not be made until then.
        let unplug = format!("link del dev {}\n", self.name);
        let _ = run(Command::new("ip").args(["-n", &self.hub, "-batch", "-"]), &unplug);
    }
}

impl Namespace {
    fn new(name: &str) -> Self {
        let unique = RandomState::new().hash_one(name) % 0x1_0000_0000;
        let namespace = Self(format!("noex-{name}-{unique:08x}"));
        run(Command::new("ip").args(["netns", "add", &namespace.0]), "").unwrap();
        namespace
    }

    /// Commands of `ip`, one a line.
    fn ip(&self, commands: &str) {
        run(Command::new("ip").args(["-n", &self.0, "-batch", "-"]), commands).unwrap();
    }

    fn run(&self, command: &[&str], input: &str) -> String {
        run(Command::new("ip").args(["netns", "exec", &self.0]).args(command), input).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(ETC).join(&self.0));
        let _ = run(Command::new("ip").args(["netns", "del", &self.0]), "");
    }
}

/// Runs a command to its end. The error names it and holds what it said.
fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let ran = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = ran.map_err(|error| format!("{command:?}: {error}"))?;
    // Whoever ends before it has read everything says why on its standard error.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Whether network namespaces can be made and used, by trying.
fn permitted() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("network namespaces take root".to_owned());
    }
    for tool in [["nft", "--version"], ["tc", "-V"]] {
        run(Command::new(tool[0]).arg(tool[1]), "")?;
    }
    let name = format!("noex-try-{:08x}", RandomState::new().hash_one(0) % 0x1_0000_0000);
    run(Command::new("ip").args(["netns", "add", &name]), "")?;
    let namespace = Namespace(name);
    let bridge = "link add name br type bridge\nlink add name one type veth peer name other\n";
    run(Command::new("ip").args(["-n", &namespace.0, "-batch", "-"]), bridge)?;
    let rules = "table bridge try { chain passing { type filter hook forward priority 0; numgen random mod 100 < 20 drop; }; }";
    run(Command::new("ip").args(["netns", "exec", &namespace.0, "nft", "-f", "-"]), rules)?;
    Ok(())
}
