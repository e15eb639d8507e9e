//! The same image, built in many ways, has the same layers.

use orlop_fixtures::tool::{run, tool};

use crate::{FROM, build, env, image_of};

#[test]
fn layers_do_not_depend_on_driver_threads_or_moment() {
    let dockerfile = format!(
        "ARG BASE\nFROM ${{BASE}} AS made\nCOPY tree /\n\
         RUN mkdir /out && cat /large /large > /out/large && echo x > /out/x && cd /out && ln x y && touch -d @1500000000 x large .\n\
         {FROM}COPY --from=made /out/x /x\nCOPY --chown=7:8 tree /\nCOPY --link tree/d/1 /linked\n\
         RUN rm /a && mv /d/1 /d/one && touch -d @1500000000 /d\n"
    );
    let mut seen = Vec::new();
    for way in 0..20 {
        let env = env();
        let large: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        env.file("context/tree/large", large);
        for n in 0..50 {
            env.file(&format!("context/tree/d/{n}"), n.to_string());
        }
        env.file("context/tree/a", "gone");
        let tree = env.path("context/tree");
        run(tool("ln").arg(tree.join("d/2")).arg(tree.join("d/two")));
        run(tool("ln").args(["-s", "../a"]).arg(tree.join("d/link")));
        run(tool("find").arg(&tree).args(["-exec", "touch", "-h", "-d", "@1400000000.5", "{}", "+"]));
        let mut build = build(&env, &dockerfile).env("RAYON_NUM_THREADS", ["1", "2", "3", "8"][way % 4]);
        if way % 2 == 1 {
            build = build.args(["--storage-driver", "copy"]);
        }
        if way % 3 == 1 {
            build = build.arg("--no-cache");
        }
        seen.push(image_of(&env, build).config["rootfs"].clone());
    }
    assert_eq!(seen[0]["diff_ids"].as_array().map(Vec::len), Some(5), "{}", seen[0]);
    for (way, layers) in seen.iter().enumerate() {
        assert_eq!(*layers, seen[0], "way {way}");
    }
}
