//! `orlop save`: images into a file.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use orlop_builder::Engine;
use orlop_builder::event::{Outcome, Progress};
use orlop_builder::output::Packing;
use orlop_builder::transfer::{self, Several};
use orlop_store::layout::{ArchiveFormat, Content, NamedImage, SaveOptions};
use orlop_store::{Digest, Image, Platform, Reference};

use super::build::platform;
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

    /// Platform to write of images that are there for several, `OS/ARCHITECTURE` [default: all; in an archive for
    /// `docker load` this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

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
    let mut chosen: Vec<Chosen> = Vec::new();
    let texts =
        args.images.iter().map(|text| app.here(&session.store, text)).collect::<Result<Vec<_>, _>>()?;
    for text in &texts {
        let named = super::for_platform(&session.store, text, args.platform.as_ref())?;
        let whole = args.platform.is_none() && args.format != Format::DockerArchive;
        let several = if whole { Several::stored(&session.store, &named)? } else { None };
        let id = if several.is_some() { named.index.unwrap_or(named.id) } else { named.id };
        let name = text
            .parse::<Reference>()
            .ok()
            .filter(|_| orlop_store::reference::image_id_prefix(text).is_none());
        // An ID is no name, and what looks like one may be a name all the same.
        let name = name
            .or_else(|| text.parse().ok().filter(|n| matches!(session.store.images().named(n), Ok(Some(_)))));
        match chosen.iter_mut().find(|other| other.id == id) {
            Some(other) => other.names.extend(name),
            None => {
                let what = match several {
                    Some(several) => What::Several(several),
                    None => What::One(Box::new(session.store.images().load(&named)?)),
                };
                chosen.push(Chosen { id, what, names: name.into_iter().collect() });
            }
        }
    }
    let options = SaveOptions::default();
    session.work(|engine, progress| {
        let mut images = Vec::new();
        for Chosen { what, names, .. } in chosen {
            let name = names.first();
            let content = match what {
                What::One(image) => {
                    fetch(engine, progress, &image, name)?;
                    Content::Image(image)
                }
                What::Several(several) => {
                    for (_, image) in &several.images {
                        fetch(engine, progress, image, name)?;
                    }
                    let (index, images) = several.packed(engine.store, &Packing::default().export(false))?;
                    Content::Index(index, images)
                }
            };
            images.push(NamedImage { content, names });
        }
        let task = progress.start(match path {
            Some(path) => format!("write {}", path.display()),
            None => "write the archive".to_owned(),
        });
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

/// What one argument stands for.
struct Chosen {
    /// Of the image, or of the index of several.
    id: Digest,
    what: What,
    names: Vec<Reference>,
}

/// What is written.
enum What {
    One(Box<Image>),
    /// The images of an index, and it.
    Several(Several),
}

/// Brings the layers that are elsewhere.
fn fetch(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    image: &Image,
    name: Option<&Reference>,
) -> Result<(), Failure> {
    if layers::are_here(engine.store, image)? {
        return Ok(());
    }
    let shown = name.map_or_else(|| image.id().short(), Reference::familiar);
    let task = progress.start(format!("fetch the layers of {shown}"));
    transfer::fetch_layers(engine, image, name, &task)?;
    task.finish(Outcome::Done, None, None);
    Ok(())
}
