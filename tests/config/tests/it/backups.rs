//! The scripts of the component `backup`, with clients of the stores that only note what they are asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use config_tests::repository_path;

/// Answers the checks of the scripts. A load, which comes on the standard input, fails while there is a file `fails`.
const MYSQL: &str = r#"
case "$*" in
    *processlist*) echo 0 ;;
    *bigtech_user.users*) cat "$HOME/accounts" ;;
    *--execute*) ;;
    *) cat >/dev/null; [[ ! -e $HOME/fails ]] ;;
esac
"#;

const MONGODUMP: &str = r#"echo archive | gzip >"${!#/*--archive=/}""#;

/// The exit status by which dump-mongodb.sh learns that there is no message.
const NO_MESSAGE: &str = "exit 3";

struct Volume {
    home: PathBuf,
}

impl Volume {
    fn new(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("backups-{name}-{}", std::process::id()));
        let volume = Self { home };
        for folder in ["bin", "work", "backups"] {
            fs::create_dir_all(volume.home.join(folder)).unwrap();
        }
        fs::write(volume.home.join("accounts"), "1\n").unwrap();
        volume.client("mysql", MYSQL);
        volume.client("mysqldump", "echo dump");
        volume.client("mongosh", "");
        volume.client("mongodump", MONGODUMP);
        volume.client("mongorestore", "");
        volume
    }

    fn client(&self, name: &str, script: &str) {
        let path = self.home.join("bin").join(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a backup. Returns whether it succeeded, and its messages.
    fn back_up(&self) -> (bool, String) {
        let (dumped, message) = self.run("dump-mongodb.sh");
        if dumped { self.run("dump-mysql.sh") } else { (false, message) }
    }

    /// Runs a script. Returns whether it succeeded, and its messages.
    fn run(&self, script: &str) -> (bool, String) {
        let path = format!("{}:{}", self.home.join("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new("bash")
            .arg(repository_path("k8s/components/backup").join(script))
            .env("HOME", &self.home)
            .env("PATH", path)
            .env("WORK", self.home.join("work"))
            .env("BACKUPS", self.home.join("backups"))
            .envs([("MYSQL_ROOT_PASSWORD", "m"), ("MONGODB_ROOT_PASSWORD", "m"), ("PASSPHRASE", "p"), ("KEEP", "14")])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    fn backups(&self) -> usize {
        fs::read_dir(self.home.join("backups"))
            .unwrap()
            .filter(|entry| is_backup(&entry.as_ref().unwrap().path()))
            .count()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn is_backup(path: &Path) -> bool {
    path.is_dir() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("20"))
}

#[test]
fn no_backup_is_made_while_the_stores_are_replaced_in_part() {
    let volume = Volume::new("in-part");
    assert!(volume.back_up().0);
    fs::write(volume.home.join("fails"), "").unwrap();
    assert!(!volume.run("load-mysql.sh").0);

    let (made, message) = volume.back_up();
    assert!(!made && message.contains("was interrupted: repeat it"), "{message}");
    assert_eq!(volume.backups(), 1);

    fs::remove_file(volume.home.join("fails")).unwrap();
    for script in ["load-mysql.sh", "load-mongodb.sh"] {
        let (done, message) = volume.run(script);
        assert!(done, "{script}: {message}");
    }
    assert!(!volume.back_up().0, "the new epoch has not begun");
    fs::remove_file(volume.home.join("backups/.restoring")).unwrap();
    let (done, message) = volume.back_up();
    assert!(done, "{message}");
}

#[test]
fn empty_stores_do_not_become_the_newest_backup() {
    let volume = Volume::new("empty");
    fs::write(volume.home.join("accounts"), "0\n").unwrap();
    assert!(volume.back_up().0, "the first backup of a new system");

    let (made, message) = volume.back_up();

    assert!(!made && message.contains("the stores are empty"), "{message}");
    assert_eq!(volume.backups(), 1);
}

#[test]
fn a_backup_without_messages_does_not_follow_one_with_messages() {
    let unused = Volume::new("unused");
    unused.client("mongosh", NO_MESSAGE);
    assert!(unused.back_up().0, "a system that nobody has used yet");
    let volume = Volume::new("no-messages");
    assert!(volume.back_up().0);

    volume.client("mongosh", NO_MESSAGE);
    let (made, message) = volume.back_up();

    assert!(!made && message.contains("MongoDB has no message"), "{message}");
    volume.client("mongosh", "exit 1");
    assert!(!volume.back_up().0, "MongoDB does not answer");
}
