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

/// Notes what it is asked in `asked`. The remotes have as many objects as the files `kept` and `found` say.
const RCLONE: &str = r#"
echo "$*" >>"$HOME/asked"
case "$*" in
    obscure*) cat ;;
    "size --json backup:current") echo "{\"count\":$(cat "$HOME/kept"),\"bytes\":1}" ;;
    "size --json store:"*) echo "{\"count\":$(cat "$HOME/found"),\"bytes\":1}" ;;
    "lsf --dirs-only"*) printf '%s\n' 2026-01-01T00-00-00Z/ 2026-03-01T00-00-00Z/ ;;
    "lsf backup:") [[ ! -e $HOME/other-passphrase ]] ;;
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
        volume.client("mysql", MYSQL);
        volume.client("mysqldump", "echo dump");
        volume.client("mongosh", "");
        volume.client("mongodump", MONGODUMP);
        volume.client("mongorestore", "");
        volume.client("rclone", RCLONE);
        volume.objects(0, 0);
        volume
    }

    fn client(&self, name: &str, script: &str) {
        let path = self.home.join("bin").join(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Sets how many objects the backup and the store have.
    fn objects(&self, kept: usize, found: usize) {
        fs::write(self.home.join("kept"), kept.to_string()).unwrap();
        fs::write(self.home.join("found"), found.to_string()).unwrap();
    }

    /// The changes that rclone was asked for since the last call.
    fn changes(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.home.join("asked")).unwrap();
        fs::remove_file(self.home.join("asked")).unwrap();
        let changes = asked.lines().filter(|line| ["sync", "copy", "purge"].contains(&line.split(' ').next().unwrap()));
        changes.map(str::to_owned).collect()
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
            .envs([("FILE_STORE_URL", "http://store"), ("FILE_STORE_BUCKET", "chat")])
            .envs([("FILE_STORE_ACCESS_KEY", "a"), ("FILE_STORE_SECRET_KEY", "s")])
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

#[test]
fn files_that_leave_the_store_are_kept_until_the_last_backup_that_has_them_is_deleted() {
    let volume = Volume::new("files");
    fs::create_dir(volume.home.join("backups/2026-02-01T00-00-00Z")).unwrap();
    volume.objects(3, 5);

    let (done, message) = volume.run("dump-files.sh");

    assert!(done, "{message}");
    let [sync, purge] = volume.changes().try_into().unwrap();
    assert!(sync.starts_with("sync store:chat backup:current --backup-dir backup:removed/20"), "{sync}");
    assert_eq!(purge, "purge backup:removed/2026-01-01T00-00-00Z");
}

#[test]
fn an_empty_store_another_passphrase_and_an_interrupted_restore_leave_the_files_of_the_backups_as_they_are() {
    let volume = Volume::new("empty-store");
    let refuses = |reason: &str| {
        let (done, message) = volume.run("dump-files.sh");
        assert!(!done && message.contains(reason) && message.contains("no backup was made"), "{message}");
    };
    volume.objects(3, 0);
    refuses("the object store is empty, and the backup has 3 files");
    fs::write(volume.home.join("other-passphrase"), "").unwrap();
    refuses("has another passphrase");
    fs::write(volume.home.join("backups/.restoring"), "2026-02-01T00-00-00Z\n").unwrap();
    refuses("the restore of 2026-02-01T00-00-00Z was interrupted");
    assert!(volume.changes().is_empty());

    fs::remove_file(volume.home.join("backups/.restoring")).unwrap();
    fs::remove_file(volume.home.join("other-passphrase")).unwrap();
    fs::write(volume.home.join("backups/no-files"), "").unwrap();
    assert!(volume.run("dump-files.sh").0, "all messages with files were removed");
}

#[test]
fn a_restore_brings_the_files_back_that_were_removed_after_its_backup() {
    let volume = Volume::new("restore-files");
    fs::write(volume.home.join("backups/.restoring"), "2026-02-01T00-00-00Z\n").unwrap();
    volume.objects(0, 5);
    assert!(volume.run("load-files.sh").0);
    assert!(volume.changes().is_empty(), "backups of a time before there were files remove none");

    volume.objects(3, 5);
    let (done, message) = volume.run("load-files.sh");
    assert!(done, "{message}");
    let copied = "copy backup:removed/2026-03-01T00-00-00Z store:chat";
    assert_eq!(volume.changes(), ["sync backup:current store:chat", copied]);

    fs::write(volume.home.join("other-passphrase"), "").unwrap();
    assert!(!volume.run("load-files.sh").0);
    assert!(volume.changes().is_empty());
}
