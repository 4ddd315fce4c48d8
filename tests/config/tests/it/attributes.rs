//! Scripts that containers mount have the ends of lines of Unix in every checkout.

use std::process::Command;

use config_tests::{Compose, repository_path};

/// The attributes `text` and `eol` of a file, as Git reads them.
fn attributes(path: &str) -> String {
    let mut git = Command::new("git");
    git.args(["check-attr", "text", "eol", "--", path]).current_dir(repository_path(""));
    String::from_utf8(git.output().unwrap().stdout).unwrap()
}

#[test]
fn mounted_files_have_the_line_ends_of_unix() {
    let compose = Compose::read("docker-compose.msa.yml");
    let mounts = compose.services().into_iter().flat_map(|name| compose.mounts(name));
    let copies = [
        "k8s/components/stores/mysql/accounts.sh",
        "k8s/components/stores/mysql/start.sh",
        "k8s/components/stores/mongodb/start.sh",
    ];
    let mounted = mounts.filter_map(|mount| mount.strip_prefix("./")).filter(|path| repository_path(path).is_file());
    for path in mounted.chain(copies) {
        let found = attributes(path);
        assert!(found.contains("text: set") && found.contains("eol: lf"), "{found}");
    }
}
