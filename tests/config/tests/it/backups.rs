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
        for (client, script) in [("mysql", MYSQL), ("mysqldump", "echo dump"), ("mongosh", ""), ("mongorestore", "")] {
            volume.client(client, script);
        }
        let archive = format!("echo archive | gzip >{}", volume.home.join("work/mongodb.archive.gz").display());
        assert!(Command::new("bash").args(["-c", &archive]).status().unwrap().success());
        volume
    }

    fn client(&self, name: &str, script: &str) {
        let path = self.home.join("bin").join(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
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
    assert!(volume.run("dump-mysql.sh").0);
    fs::write(volume.home.join("fails"), "").unwrap();
    assert!(!volume.run("load-mysql.sh").0);

    let (made, message) = volume.run("dump-mysql.sh");
    assert!(!made && message.contains("was interrupted: repeat it"), "{message}");
    assert_eq!(volume.backups(), 1);

    fs::remove_file(volume.home.join("fails")).unwrap();
    for script in ["load-mysql.sh", "load-mongodb.sh", "dump-mysql.sh"] {
        let (done, message) = volume.run(script);
        assert!(done, "{script}: {message}");
    }
}

#[test]
fn empty_stores_do_not_become_the_newest_backup() {
    let volume = Volume::new("empty");
    fs::write(volume.home.join("accounts"), "0\n").unwrap();
    assert!(volume.run("dump-mysql.sh").0, "the first backup of a new system");

    let (made, message) = volume.run("dump-mysql.sh");

    assert!(!made && message.contains("the stores are empty"), "{message}");
    assert_eq!(volume.backups(), 1);
}
