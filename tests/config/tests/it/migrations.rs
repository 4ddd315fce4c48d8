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
        let service = program.name().trim_end_matches("-service");
        let folder = repository_path(&format!("services/{}/migrations", program.name()));
        let mut files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let migration = files.find(|file| file.to_string_lossy().ends_with("_outbox.sql"));
        let migration =
            fs::read_to_string(migration.unwrap_or_else(|| panic!("{} has no outbox", program.name()))).unwrap();
        assert_eq!(statements(&migration), statements(&SCHEMA.replace("{service}", service)), "{}", program.name());
    }
}
