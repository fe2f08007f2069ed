import VditFiles
import VditMedia

extension RenderJob {
    /// What it reads and makes.
    package func files(known: KnownFiles? = nil) -> FileRoles {
        var files = FileRoles(
            makes: [
                "checkpoint": destination.statePath, "final latents": keptLatents, "preview": preview?.path,
                "trajectory": saveTrajectory,
            ])
        destination.add(to: &files)
        files.read(reads(known: known))
        return files
    }

    /// What it reads. Other commands that are told of a run by settings read the same.
    package func reads(known: KnownFiles? = nil) -> FileRoles {
        var files = FileRoles()
        for (role, path) in inputs { files.read(known?.input(path, as: role) ?? FileRoles(reads: [role: path])) }
        return files
    }

    /// Files and folders that are read, as settings name them.
    package var inputs: [(role: String, path: String)] {
        SettingTable.inputFiles.compactMap { role, row in row.given(in: self).map { (role, $0) } }
            + adapters.map { ("adapter", $0.path) }
    }

    /// Pictures and the video that it is made from, by setting.
    package var pictureFiles: [(setting: String, path: String)] {
        [("image", image), ("last_image", lastImage), ("video", request.video)]
            .compactMap { name, path in path.map { (name, $0) } }
    }

    /// Where the final latents lie while the video is made, and stay if that was asked for. Nil beside a video that is no
    /// file.
    var keptLatents: String? {
        saveLatents ?? (destination.isStream ? nil : companionPath(destination.path, ".latents.safetensors"))
    }
}
