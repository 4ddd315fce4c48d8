//! The migrations of the services.

use std::fs;

use config_tests::{Program, repository_path};
use engines::outbox::SCHEMA;

/// The lines of a script without comments and empty lines.
fn statements(sql: &str) -> Vec<&str> {
    sql.lines().filter(|line| !line.trim_start().starts_with("--") && !line.trim().is_empty()).collect()
}

#[test]
fn every_service_has_a_migration_to_the_schema_of_the_outbox() {
    for program in Program::ALL {
        let name = program.name();
        let folder = repository_path(&format!("services/{name}/migrations"));
        let mut files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let migration = files.find(|file| file.to_string_lossy().ends_with("_outbox.sql"));
        let migration = migration.unwrap_or_else(|| panic!("{name} has no migration of the outbox"));
        let schema = SCHEMA.replace("{service}", name.trim_end_matches("-service"));
        assert_eq!(statements(&fs::read_to_string(migration).unwrap()), statements(&schema), "{name}");
    }
}
