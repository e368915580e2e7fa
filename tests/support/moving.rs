//! A core function that moves: its folder is copied, and what stays behind sends everybody on.

use std::{fs, path::Path, sync::Arc};

use capif_ccf::config::{Config, MovedSection};
use tempfile::TempDir;

use super::{World, lasting_address};

impl World {
    /// Stops the core function, starts it from a copy of its folder on other ports, and leaves a signpost here.
    pub async fn move_away(&mut self, permanent: bool) -> Self {
        self.move_as(
            |_| {},
            |to| MovedSection {
                to,
                permanent,
                ..MovedSection::default()
            },
        )
        .await
    }

    /// The same with a configuration of the test's own for the new place, and for what stays behind.
    pub async fn move_as(
        &mut self,
        change: impl FnOnce(&mut Config),
        moved: impl FnOnce(String) -> MovedSection,
    ) -> Self {
        self.stop().await;
        let mut new = self.copied();
        new.config.ccf.listen = lasting_address();
        new.config.management.listen = lasting_address();
        new.config.revocation.listen = lasting_address();
        change(&mut new.config);
        new.resume().await;
        self.config.moved = moved(format!("https://{}", new.address));
        self.resume().await;
        new
    }

    /// The same core function in a copy of the folder, not started.
    pub fn copied(&self) -> Self {
        let dir = TempDir::new().unwrap();
        copy(self.dir.path(), dir.path());
        Self {
            dir,
            clock: Arc::clone(&self.clock),
            config: self.config.clone(),
            first_password: None,
            ccf: None,
            moved: None,
            address: String::new(),
        }
    }
}

/// Copies files and folders, and not the folders of people, who stay where they are.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && entry.file_name() != "people" {
            fs::create_dir(&to).unwrap();
            copy(&path, &to);
        } else if kind.is_file() {
            fs::copy(&path, &to).unwrap();
        }
    }
}
