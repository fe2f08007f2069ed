import VditFiles
import VditMedia

extension RenderJob {
    /// What it reads and makes.
    package var files: FileRoles {
        var files = FileRoles(
            reads: [
                prompt.embedding == nil ? "prompt file" : "prompt embedding": prompt.path,
                "negative prompt embedding": negativePrompt?.path, "text encoder": textEncoder,
                "initial noise": latents, "image": image, "last image": lastImage, "video": request.video,
                "measurements": request.sparseResults,
            ],
            makes: [
                "checkpoint": Checkpoint.path(forOutput: destination.path),
                "final latents": keptLatents, "preview": preview?.path, "trajectory": saveTrajectory,
            ])
        files.read(model)
        destination.add(to: &files)
        return files
    }

    /// Pictures and the video that it is made from, by setting.
    package var pictureFiles: [(setting: String, path: String)] {
        [("image", image), ("last_image", lastImage), ("video", request.video)]
            .compactMap { name, path in path.map { (name, $0) } }
    }

    /// Where the final latents lie while the video is made, and stay if that was asked for.
    var keptLatents: String { saveLatents ?? companionPath(destination.path, ".latents.safetensors") }
}
