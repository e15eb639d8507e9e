//! `orlop save`: images into a file.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use orlop_builder::event::Outcome;
use orlop_builder::transfer;
use orlop_store::Reference;
use orlop_store::layout::{ArchiveFormat, NamedImage, SaveOptions};

use crate::diagnostics::Failure;
use crate::global::ProgressArgs;
use crate::layers;
use crate::session::App;

/// Write images of the store into an archive
#[derive(Args, Debug)]
pub(crate) struct SaveArgs {
    /// Names or IDs of the images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// The file, `-` for standard output [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What is written: an archive for `docker load`, an OCI archive, or an OCI layout directory
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: Format,

    #[command(flatten)]
    pub(super) progress: ProgressArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    DockerArchive,
    OciArchive,
    OciDir,
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &SaveArgs) -> Result<(), Failure> {
    let path = args.output.as_deref().filter(|path| *path != Path::new("-"));
    if path.is_none() {
        if args.format == Format::OciDir {
            return Err(Failure::usage("a directory cannot be written to standard output")
                .with_hint("name it with `-o DIR`".to_owned()));
        }
        if std::io::stdout().is_terminal() {
            return Err(Failure::usage("an archive is not written to a terminal")
                .with_hint("redirect standard output, or name a file with `-o FILE`".to_owned()));
        }
    }
    let session = app.session(args.progress.mode()?)?;
    // An image that is given by several names is written once, with all of them.
    let mut images: Vec<NamedImage> = Vec::new();
    for text in &args.images {
        let named = session.store.images().resolve(text)?;
        let image = session.store.images().load(&named)?;
        let name = text
            .parse::<Reference>()
            .ok()
            .filter(|_| orlop_store::reference::image_id_prefix(text).is_none());
        // An ID is no name, and what looks like one may be a name all the same.
        let name = name
            .or_else(|| text.parse().ok().filter(|n| matches!(session.store.images().named(n), Ok(Some(_)))));
        match images.iter_mut().find(|other| other.image.id() == named.id) {
            Some(other) => other.names.extend(name),
            None => images.push(NamedImage { image, names: name.into_iter().collect() }),
        }
    }
    session.work(|engine, progress| {
        for NamedImage { image, names } in &images {
            if layers::are_here(engine.store, image)? {
                continue;
            }
            let name = names.first().map_or_else(|| image.id().short(), Reference::familiar);
            let task = progress.start(format!("fetch the layers of {name}"));
            transfer::fetch_layers(engine, image, names.first(), &task)?;
            task.finish(Outcome::Done, None, None);
        }
        let task = progress.start(match path {
            Some(path) => format!("write {}", path.display()),
            None => "write the archive".to_owned(),
        });
        let options = SaveOptions::default();
        let format =
            if args.format == Format::DockerArchive { ArchiveFormat::Docker } else { ArchiveFormat::Oci };
        match path {
            Some(path) if args.format == Format::OciDir => {
                engine.store.save_layout(path, &images, &options)?
            }
            Some(path) => engine.store.save(path, format, &images, &options)?,
            None => engine.store.save_to(&mut std::io::stdout().lock(), format, &images, &options)?,
        };
        task.finish(Outcome::Done, None, None);
        Ok::<_, Failure>(())
    })
}
