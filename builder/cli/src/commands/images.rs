//! `orlop images`: what is in the store.

use clap::{Args, ValueEnum};
use orlop_store::{Digest, ImageRecord, Named, Reference, Store};
use serde_json::json;

use crate::diagnostics::Failure;
use crate::session::App;
use crate::{clock, layers, quantity, table};

/// What a name or a tag is shown as where there is none.
const NONE: &str = "<none>";

/// List the images of the store
#[derive(Args, Debug)]
pub(crate) struct ImagesArgs {
    /// Only this repository, `NAME[:TAG]`
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Show IDs alone
    #[arg(short, long)]
    quiet: bool,

    /// Show digests of manifests as well
    #[arg(long)]
    digests: bool,

    /// Show IDs in full
    #[arg(long)]
    no_trunc: bool,

    /// Only images with (`false`) or without (`true`) a name: `dangling=BOOL`
    #[arg(short, long, value_name = "FILTER", value_parser = dangling)]
    filter: Option<bool>,

    /// `table`, or `json` for one object a line
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// How lists are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Columns.
    Table,
    /// One JSON object a line.
    Json,
}

fn dangling(text: &str) -> Result<bool, String> {
    match text {
        "dangling=true" | "dangling=1" => Ok(true),
        "dangling=false" | "dangling=0" => Ok(false),
        _ => Err(format!("`{text}` is not a filter (there is `dangling=true` and `dangling=false`)")),
    }
}

/// One line: an image under one of its names.
struct Row<'a> {
    record: &'a ImageRecord,
    name: Option<&'a Reference>,
}

impl Row<'_> {
    fn repository(&self) -> String {
        self.name.map_or_else(|| NONE.to_owned(), repository)
    }

    /// Digest of the manifest, or of the index that the name stood for where it came from.
    fn digest(&self, store: &Store) -> Result<String, Failure> {
        let named = self.name.map(|name| store.images().named(name)).transpose()?.flatten();
        let digest = match named {
            Some(named) => known_elsewhere(store, &named),
            None => self.record.manifest,
        };
        Ok(digest.map_or_else(|| NONE.to_owned(), |digest| digest.to_string()))
    }

    /// What the image is for; in an index what that says of it.
    fn platform(&self, store: &Store) -> Result<String, Failure> {
        let named = self.name.map(|name| store.images().named(name)).transpose()?.flatten();
        let members =
            named.and_then(|named| named.index).and_then(|index| store.images().members(&index).ok());
        let own =
            members.and_then(|members| members.here.into_iter().find(|m| m.target.id == self.record.id));
        Ok(own.map_or_else(|| self.record.platform.clone(), |member| member.platform.to_string()))
    }

    fn tag(&self) -> &str {
        self.name.and_then(|name| name.tag()).unwrap_or(NONE)
    }
}

/// The digest that a name stands for at a registry or in an archive; none for what was only built.
pub(super) fn known_elsewhere(store: &Store, named: &Named) -> Option<Digest> {
    let draft = |index: &Digest| store.images().index(index).is_ok_and(|index| index.is_draft());
    match named.index {
        Some(index) if draft(&index) => None,
        index => index.or(named.manifest),
    }
}

/// The name without tag and digest, as people write it.
fn repository(name: &Reference) -> String {
    let whole = name.familiar();
    let bare = whole.split('@').next().unwrap_or_default();
    match name.tag() {
        Some(tag) => bare.strip_suffix(&format!(":{tag}")).unwrap_or(bare).to_owned(),
        None => bare.to_owned(),
    }
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &ImagesArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let records = store.images().list()?;
    let wanted = args.name.as_deref().map(super::build::reference).transpose().map_err(Failure::usage)?;
    // Without a tag in the text all tags are meant.
    let any_tag = args
        .name
        .as_deref()
        .is_some_and(|text| !text.rsplit('/').next().unwrap_or(text).contains([':', '@']));
    let mut rows = Vec::new();
    for record in &records {
        if record.names.is_empty() {
            rows.push(Row { record, name: None });
        }
        rows.extend(record.names.iter().map(|name| Row { record, name: Some(name) }));
    }
    rows.retain(|row| args.filter.is_none_or(|dangling| dangling == row.name.is_none()));
    if let Some(wanted) = wanted {
        let meant = crate::config::registries().unwrap_or_default().short_name(&wanted).unwrap_or_default();
        let all: Vec<Reference> = meant.into_iter().flat_map(|meant| meant.names).chain([wanted]).collect();
        rows.retain(|row| {
            row.name.is_some_and(|name| {
                let same = |wanted: &Reference| {
                    name.repository() == wanted.repository() && (any_tag || name.tag() == wanted.tag())
                };
                all.iter().any(same)
            })
        });
    }
    let id = |record: &ImageRecord| if args.no_trunc { record.id.to_string() } else { record.id.short() };
    if args.quiet {
        let mut ids: Vec<String> = rows.iter().map(|row| id(row.record)).collect();
        ids.dedup();
        return table::lines(ids);
    }
    if args.format == ListFormat::Json {
        let objects = rows.iter().map(|row| Ok(object(&store, row)?.to_string()));
        return table::lines(objects.collect::<Result<Vec<_>, Failure>>()?);
    }
    // Names that stand for several images are told apart by what these are for.
    let mut once = std::collections::HashSet::new();
    let platforms = rows.iter().filter_map(|row| row.name).any(|name| !once.insert(name));
    let mut heads = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
    if platforms {
        heads.insert(3, "PLATFORM");
    }
    if args.digests {
        heads.insert(2, "DIGEST");
    }
    let mut lines = Vec::new();
    for row in &rows {
        let (created, size) = details(&store, row.record);
        let mut cells = vec![row.repository(), row.tag().to_owned(), id(row.record)];
        if platforms {
            cells.push(row.platform(&store)?);
        }
        if args.digests {
            cells.insert(2, row.digest(&store)?);
        }
        cells.push(clock::ago(created.as_deref()));
        cells.push(size.map_or_else(|| "-".to_owned(), quantity::size));
        lines.push(cells);
    }
    table::write(&heads, &lines)
}

/// When an image was made and how large it is; a damaged one is listed all the same.
fn details(store: &Store, record: &ImageRecord) -> (Option<String>, Option<u64>) {
    match store.images().get(&record.id.to_string()) {
        Ok(image) => (image.config().created().map(str::to_owned), Some(layers::total(store, &image))),
        Err(_) => (None, None),
    }
}

fn object(store: &Store, row: &Row<'_>) -> Result<serde_json::Value, Failure> {
    let (created, size) = details(store, row.record);
    Ok(json!({
        "ID": row.record.id,
        "Repository": row.repository(),
        "Tag": row.tag(),
        "Digest": row.digest(store)?,
        "CreatedAt": created,
        "CreatedSince": clock::ago(created.as_deref()),
        "Size": size,
        "Platform": row.platform(store)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_shown_without_what_follows_them() {
        let digest = "a".repeat(64);
        for (text, shown) in [
            ("debian", "debian"),
            ("debian:12", "debian"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b"),
            (&format!("x/y:t@sha256:{digest}"), "x/y"),
            (&format!("x/y@sha256:{digest}"), "x/y"),
        ] {
            assert_eq!(repository(&text.parse().unwrap()), shown);
        }
    }

    #[test]
    fn there_is_one_filter() {
        assert_eq!(dangling("dangling=true"), Ok(true));
        assert!(dangling("label=x").is_err());
    }
}
