//! Every kubectl that is at hand, against a server on a TLS socket.

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use longshore_apiserver::{ApiServer, Config, Tokens, User};
use tempfile::TempDir;

use crate::support::{self, WIDGETS};

const TOKEN: &str = "the-admin-token";

/// At most so many versions at one time.
const PARALLEL: usize = 2;

/// All kubectl programs of the versions we promise, or the plain one.
fn programs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let plain: Vec<PathBuf> = folders
        .iter()
        .map(|folder| folder.join("kubectl"))
        .filter(|file| file.is_file())
        .collect();
    for file in &plain {
        if let Some(folder) = fs::canonicalize(file)
            .ok()
            .and_then(|file| file.parent().map(Path::to_owned))
        {
            folders.push(folder);
        }
    }
    let mut found = Vec::new();
    for minor in 27..=33 {
        let name = format!("kubectl.1.{minor}");
        found.extend(
            folders
                .iter()
                .map(|folder| folder.join(&name))
                .find(|file| file.is_file()),
        );
    }
    if found.is_empty() {
        found.extend(
            std::env::var_os("LONGSHORE_KUBECTL")
                .map(PathBuf::from)
                .or_else(|| plain.first().cloned()),
        );
    }
    found
}

struct Kubectl {
    program: PathBuf,
    home: TempDir,
    namespace: String,
}

impl Kubectl {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("config"));
        command
            .args(["--request-timeout=30s", "-n", &self.namespace])
            .args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// (exit code, output, errors)
    fn run(
        &self,
        arguments: &[&str],
        input: &str,
        variables: &[(&str, &str)],
    ) -> (i32, String, String) {
        let mut command = self.command(arguments);
        let mut child = command
            .envs(variables.iter().copied())
            .spawn()
            .expect("kubectl starts");
        // a program that does not read its input closes it: no fault of ours
        let _ = child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(input.as_bytes());
        let output = child.wait_with_output().expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str], input: &str) -> String {
        let (code, output, errors) = self.run(arguments, input, &[]);
        let program = self.program.display();
        assert_eq!(
            code, 0,
            "{program} {arguments:?} failed:\n{output}\n{errors}"
        );
        output
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], input: &str, wanted: &str) {
        let (code, output, errors) = self.run(arguments, input, &[]);
        let program = self.program.display();
        assert_ne!(code, 0, "{program} {arguments:?} should fail:\n{output}");
        assert!(
            errors.contains(wanted),
            "{program} {arguments:?} should say {wanted:?}:\n{errors}"
        );
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], input: &str, wanted: &str) {
        let output = self.ok(arguments, input);
        let program = self.program.display();
        assert!(
            output.contains(wanted),
            "{program} {arguments:?} should say {wanted:?}:\n{output}"
        );
    }
}

fn widget(size: i64, extra: &str) -> String {
    format!(
        "apiVersion: test.longshore.io/v1\nkind: Widget\nmetadata:\n  name: w1\nspec:\n  size: {size}\n{extra}"
    )
}

/// The whole matrix for one version.
fn matrix(kubectl: &Kubectl) {
    definitions(kubectl);
    reading(kubectl);
    changing(kubectl);
    builtins(kubectl);
    applying_on_the_server(kubectl);
    ending(kubectl);
}

fn definitions(kubectl: &Kubectl) {
    kubectl.ok(&["create", "namespace", &kubectl.namespace], "");
    kubectl.ok(&["apply", "-f", "-"], WIDGETS);
    kubectl.ok(
        &[
            "wait",
            "--for=condition=established",
            "crd/widgets.test.longshore.io",
            "--timeout=20s",
        ],
        "",
    );
    kubectl.says(&["get", "crd"], "", "widgets.test.longshore.io");
    kubectl.says(
        &["api-resources", "--api-group=test.longshore.io"],
        "",
        "widgets",
    );
    kubectl.says(
        &["create", "-f", "-"],
        &widget(5, ""),
        "widget.test.longshore.io/w1 created",
    );
    kubectl.fails(&["create", "-f", "-"], &widget(5, ""), "already exists");
    kubectl.ok(&["delete", "widget", "w1"], "");
    kubectl.ok(
        &["create", "-f", "-"],
        &widget(5, "  color:\n  parts:\nstatus:\n"),
    );
    kubectl.ok(&["delete", "widget", "w1"], "");
    kubectl.says(&["apply", "-f", "-"], &widget(5, ""), "created");
    kubectl.says(&["apply", "-f", "-"], &widget(5, ""), "unchanged");
    kubectl.says(&["apply", "-f", "-"], &widget(7, ""), "configured");
    kubectl.fails(
        &["apply", "-f", "-"],
        &widget(7, "  sise: 3\n"),
        "unknown field \"spec.sise\"",
    );
    kubectl.fails(
        &["apply", "-f", "-"],
        &widget(700, ""),
        "should be less than or equal to 100",
    );
}

fn reading(kubectl: &Kubectl) {
    let table = kubectl.ok(&["get", "widgets"], "");
    let mut lines = table.lines();
    let heading: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(heading, ["NAME", "SIZE", "READY", "AGE"], "{table}");
    assert!(
        lines.next().is_some_and(|line| line.starts_with("w1 ")),
        "{table}"
    );
    kubectl.says(&["get", "wd", "w1", "-o", "yaml"], "", "color: red");
    kubectl.says(
        &["get", "widget", "w1", "-o", "jsonpath={.spec.size}"],
        "",
        "7",
    );
    kubectl.says(&["get", "widgets", "--sort-by=.spec.size"], "", "w1");
    kubectl.says(
        &["get", "all", "-o", "name"],
        "",
        "widget.test.longshore.io/w1",
    );
    kubectl.says(&["describe", "widget", "w1"], "", "Color:  red");
    kubectl.says(
        &["explain", "widget.spec"],
        "",
        "Edge length in millimetres.",
    );
    kubectl.says(&["explain", "widget.spec.size"], "", "integer");
    kubectl.says(
        &["explain", "node.status.conditions"],
        "",
        "lastHeartbeatTime",
    );
    // -w shows what is and what comes; it runs until we end it
    let mut watch = kubectl
        .command(&["get", "widgets", "-w", "--no-headers"])
        .spawn()
        .expect("kubectl starts");
    let output = watch.stdout.take().expect("a pipe");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output));
    let first = lines.next().expect("a line").expect("text");
    assert!(first.starts_with("w1 "), "{first}");
    kubectl.ok(
        &[
            "patch",
            "widget",
            "w1",
            "--type=merge",
            "-p",
            r#"{"spec":{"size":8}}"#,
        ],
        "",
    );
    let second = lines.next().expect("a line").expect("text");
    assert!(second.split_whitespace().nth(1) == Some("8"), "{second}");
    watch.kill().expect("the watch is ours to end");
    watch.wait().expect("the watch ends");
}

fn changing(kubectl: &Kubectl) {
    let size =
        |kubectl: &Kubectl| kubectl.ok(&["get", "widget", "w1", "-o", "jsonpath={.spec.size}"], "");
    let patch = r#"[{"op":"replace","path":"/spec/size","value":9}]"#;
    kubectl.ok(&["patch", "widget", "w1", "--type=json", "-p", patch], "");
    assert_eq!(size(kubectl), "9");
    let script = kubectl.home.path().join("editor");
    fs::write(&script, "#!/bin/sh\nsed -i 's/size: 9/size: 10/' \"$1\"\n")
        .expect("the script is written");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("made executable");
    let editor = script.to_str().expect("text");
    let (code, output, errors) =
        kubectl.run(&["edit", "widget", "w1"], "", &[("KUBE_EDITOR", editor)]);
    assert_eq!(code, 0, "{output}\n{errors}");
    assert_eq!(size(kubectl), "10");
    let status = r#"{"status":{"message":"well","conditions":[{"type":"Ready","status":"True"}]},"spec":{"size":1}}"#;
    kubectl.ok(
        &[
            "patch",
            "widget",
            "w1",
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ],
        "",
    );
    assert_eq!(size(kubectl), "10");
    kubectl.ok(
        &[
            "wait",
            "--for=condition=Ready",
            "widget/w1",
            "--timeout=20s",
        ],
        "",
    );
    kubectl.ok(
        &[
            "wait",
            "--for=jsonpath={.status.message}=well",
            "widget/w1",
            "--timeout=20s",
        ],
        "",
    );
    kubectl.ok(&["label", "widget", "w1", "tier=web"], "");
    kubectl.ok(&["annotate", "widget", "w1", "note=hello"], "");
    kubectl.says(
        &[
            "get",
            "widgets",
            "-l",
            "tier in (web, db),!other",
            "-o",
            "name",
        ],
        "",
        "w1",
    );
    kubectl.says(
        &[
            "get",
            "widgets",
            "--field-selector=metadata.name=w1",
            "-o",
            "name",
        ],
        "",
        "w1",
    );
    let (code, diff, errors) = kubectl.run(&["diff", "-f", "-"], &widget(12, ""), &[]);
    assert_eq!(code, 1, "{diff}\n{errors}");
    assert!(diff.contains("+  size: 12"), "{diff}");
    kubectl.says(
        &["apply", "--dry-run=server", "-f", "-"],
        &widget(12, ""),
        "dry run",
    );
    assert_eq!(size(kubectl), "10");
}

fn builtins(kubectl: &Kubectl) {
    kubectl.ok(
        &["create", "configmap", "c1", "--from-literal=key=value"],
        "",
    );
    kubectl.says(
        &["get", "configmap", "c1", "-o", "jsonpath={.data.key}"],
        "",
        "value",
    );
    kubectl.ok(
        &[
            "create",
            "secret",
            "generic",
            "s1",
            "--from-literal=password=pass",
        ],
        "",
    );
    kubectl.says(
        &["get", "secret", "s1", "-o", "jsonpath={.data.password}"],
        "",
        "cGFzcw==",
    );
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c2\ndata:\n  a: '1'\n";
    kubectl.ok(&["apply", "-f", "-"], config);
    kubectl.says(
        &["apply", "-f", "-"],
        &config.replace("'1'", "'2'"),
        "configured",
    );
    let node = format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: n-{}\n",
        kubectl.namespace
    );
    let name = format!("n-{}", kubectl.namespace);
    kubectl.ok(&["apply", "-f", "-"], &node);
    kubectl.ok(&["taint", "node", &name, "edge=yes:NoSchedule"], "");
    kubectl.ok(&["cordon", &name], "");
    kubectl.says(&["get", "nodes"], "", "SchedulingDisabled");
    kubectl.says(&["describe", "node", &name], "", "edge=yes:NoSchedule");
    kubectl.says(
        &["get", "nodes", "--field-selector=spec.unschedulable=true"],
        "",
        &name,
    );
    kubectl.ok(&["uncordon", &name], "");
    kubectl.says(
        &["get", "nodes", "--field-selector=spec.unschedulable=false"],
        "",
        &name,
    );
    kubectl.ok(&["get", "events"], "");
    kubectl.fails(&["run", "p", "--image=x"], "", "runs no pods");
    kubectl.fails(
        &["get", "configmap", "c1", "--as=bob", "--as-group=dev"],
        "",
        "User \"bob\" cannot get resource \"configmaps\"",
    );
    let tls = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s2\ntype: kubernetes.io/tls\n";
    kubectl.fails(&["apply", "-f", "-"], tls, "data[tls.crt]: Required value");
    kubectl.says(
        &["auth", "can-i", "create", "widgets.test.longshore.io"],
        "",
        "yes",
    );
    // 1.27 asks for alpha and beta versions that no server of 1.33 has
    if !kubectl.program.ends_with("kubectl.1.27") {
        kubectl.says(&["auth", "whoami"], "", "admin");
        kubectl.says(&["auth", "whoami", "--as=bob", "--as-group=dev"], "", "bob");
    }
}

fn applying_on_the_server(kubectl: &Kubectl) {
    let config = widget(20, "  tags: [a]\n").replace("w1", "w2");
    kubectl.says(
        &["apply", "--server-side", "-f", "-"],
        &config,
        "serverside-applied",
    );
    kubectl.says(
        &["apply", "--server-side", "-f", "-"],
        &config,
        "serverside-applied",
    );
    let other = config.replace("20", "21");
    kubectl.fails(
        &["apply", "--server-side", "--field-manager=other", "-f", "-"],
        &other,
        "conflict with \"kubectl\": .spec.size",
    );
    kubectl.ok(
        &[
            "apply",
            "--server-side",
            "--field-manager=other",
            "--force-conflicts",
            "-f",
            "-",
        ],
        &other,
    );
    // an object that was applied on the client before
    kubectl.ok(&["apply", "--server-side", "-f", "-"], &widget(10, ""));
    kubectl.says(
        &["get", "widget", "w1", "--show-managed-fields", "-o", "yaml"],
        "",
        "manager: kubectl",
    );
}

fn ending(kubectl: &Kubectl) {
    kubectl.says(&["delete", "widget", "w1", "--wait=true"], "", "deleted");
    kubectl.fails(
        &["get", "widget", "w1"],
        "",
        "widgets.test.longshore.io \"w1\" not found",
    );
    kubectl.ok(&["delete", "widgets", "--all"], "");
    kubectl.ok(&["delete", "node", &format!("n-{}", kubectl.namespace)], "");
    kubectl.ok(
        &["delete", "namespace", &kubectl.namespace, "--timeout=30s"],
        "",
    );
    kubectl.fails(&["get", "namespace", &kubectl.namespace], "", "not found");
}

/// A server on a socket; gives a kubeconfig for it.
async fn serve(folder: &Path) -> (ApiServer, tokio::task::JoinHandle<()>, String) {
    let server = support::run(Config::new(folder.join("api.db")));
    let key =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let chain = vec![key.cert.der().clone()];
    let private =
        rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .expect("a certificate that fits");
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let authority = folder.join("ca.pem");
    fs::write(&authority, key.cert.pem()).expect("the certificate is written");
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: t\nclusters:\n- name: t\n  cluster:\n    server: https://{address}\n    \
         certificate-authority: {}\ncontexts:\n- name: t\n  context: {{cluster: t, user: t}}\nusers:\n- name: t\n  user:\n    token: {TOKEN}\n",
        authority.display()
    );
    let tokens = Tokens::none().with(TOKEN, User::admin("admin"));
    let running = server.clone();
    let task = tokio::spawn(async move {
        running
            .serve_tls(listener, Arc::new(tls), tokens)
            .await
            .expect("serves");
    });
    (server, task, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kubectl_does_its_work() {
    let programs = programs();
    assert!(
        !programs.is_empty(),
        "no kubectl was found: install one (https://kubernetes.io/docs/tasks/tools/), or name it in LONGSHORE_KUBECTL"
    );
    let queue: Arc<Mutex<VecDeque<PathBuf>>> = Arc::new(Mutex::new(programs.into()));
    let workers: Vec<_> = (0..PARALLEL)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                loop {
                    let program = queue.lock().expect("nobody panics here").pop_front();
                    let Some(program) = program else { return };
                    run(program).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("the matrix holds");
    }
}

/// One version against a server of its own.
async fn run(program: PathBuf) {
    let home = TempDir::new().expect("a temporary folder");
    let (server, task, config) = serve(home.path()).await;
    fs::write(home.path().join("config"), &config).expect("the kubeconfig is written");
    let kubectl = Kubectl {
        program,
        home,
        namespace: "space".to_owned(),
    };
    tokio::task::spawn_blocking(move || matrix(&kubectl))
        .await
        .expect("the matrix holds");
    server.shutdown().await;
    task.await.expect("the server ends");
}
