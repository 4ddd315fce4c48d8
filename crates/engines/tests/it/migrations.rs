//! The next start finishes a migration during which a process was killed, after any of its statements. An older release starts
//! on the tables of a newer one.

use std::path::Path;

use engines::mysql::migrate;
use sqlx::AssertSqlSafe;
use sqlx::migrate::{Migration, Migrator};

use crate::support::{Schema, execute};

async fn migrations_of(service: &str) -> Vec<Migration> {
    let folder = format!("../../services/{service}-service/migrations");
    let migrator = Migrator::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).await.unwrap();
    migrator.iter().cloned().collect()
}

fn statements(migration: &Migration) -> Vec<String> {
    let sql = migration.sql.as_str().split(";\n").map(|statement| statement.trim().to_owned());
    sql.filter(|statement| !statement.is_empty()).collect()
}

/// The columns and keys of the service's tables, without the list of migrations.
async fn shape(schema: &Schema) -> Vec<String> {
    let shape = "SELECT CONCAT_WS(' ', table_name, column_name, column_type, is_nullable, ordinal_position)
                 FROM information_schema.columns WHERE table_schema = ? AND table_name NOT LIKE '%_migrations'
                 UNION ALL
                 SELECT CONCAT_WS(' ', table_name, index_name, non_unique, seq_in_index, column_name)
                 FROM information_schema.statistics WHERE table_schema = ? AND table_name NOT LIKE '%_migrations'
                 ORDER BY 1";
    sqlx::query_scalar(shape).bind(&schema.name).bind(&schema.name).fetch_all(&schema.pool).await.unwrap()
}

/// A schema whose migration was interrupted after `done` of its statements.
async fn interrupted(service: &'static str, all: &[Migration], at: usize, done: usize) -> Schema {
    let schema = Schema::empty().await;
    migrate(&schema.pool, service, Migrator::with_migrations(all[..at].to_vec())).await.unwrap();
    let begun = format!(
        "INSERT INTO {service}_migrations (version, description, success, checksum, execution_time)
         VALUES (?, ?, FALSE, ?, -1)"
    );
    let migration = &all[at];
    sqlx::query(AssertSqlSafe(begun))
        .bind(migration.version)
        .bind(migration.description.as_ref())
        .bind(migration.checksum.as_ref())
        .execute(&schema.pool)
        .await
        .unwrap();
    for statement in &statements(migration)[..done] {
        execute(&schema.pool, statement).await;
    }
    schema
}

#[tokio::test]
async fn an_interrupted_migration_is_finished() {
    let mut cuts = 0;
    for service in ["user", "friend", "chat"] {
        let all = migrations_of(service).await;
        let whole = Schema::empty().await;
        migrate(&whole.pool, service, Migrator::with_migrations(all.clone())).await.unwrap();
        let expected = shape(&whole).await;
        whole.end().await;

        for (at, migration) in all.iter().enumerate() {
            for done in 0..=statements(migration).len() {
                let schema = interrupted(service, &all, at, done).await;

                let finished = migrate(&schema.pool, service, Migrator::with_migrations(all.clone())).await;

                let place = format!("{service}: {} after {done} statements", migration.description);
                finished.unwrap_or_else(|e| panic!("{place}: {e}"));
                assert_eq!(shape(&schema).await, expected, "{place}");
                schema.end().await;
                cuts += 1;
            }
        }
    }
    assert!(cuts > 30, "{cuts}");
}

#[tokio::test]
async fn an_older_release_starts_on_the_tables_of_a_newer_one() {
    for service in ["user", "friend", "chat"] {
        let all = migrations_of(service).await;
        let older = || Migrator::with_migrations(all[..all.len() - 1].to_vec());

        let migrated = Schema::empty().await;
        migrate(&migrated.pool, service, Migrator::with_migrations(all.clone())).await.unwrap();
        migrate(&migrated.pool, service, older()).await.unwrap();
        migrated.end().await;

        // A rollout that was rolled back after the first pod was killed in its migration.
        let killed = interrupted(service, &all, all.len() - 1, 0).await;
        migrate(&killed.pool, service, older()).await.unwrap();
        migrate(&killed.pool, service, Migrator::with_migrations(all.clone())).await.unwrap();
        killed.end().await;
    }
}
