import TestSupport
import Testing

/// Renders and decodes with a tiny autoencoder in the VAE's place.
struct TinyVAECommandTests {
    private let tiny = Golden.path("tiny-vae/taew2_1/taew2_1.safetensors")

    @Test func rendersAndDecodesToTheSameFrames() throws {
        let folder = try TemporaryDirectory()
        let latents = folder.path("latents.safetensors")
        func render(_ output: String, _ more: String...) throws -> CommandRun.Result {
            var arguments = smallRender(folder.path(output), steps: 2, "--seed", "3", "--save-latents", latents)
            arguments += more
            return try CommandRun.run(arguments)
        }
        func decode(_ output: String) throws -> CommandRun.Result {
            try CommandRun.run(["decode", "--latents", latents, "--model", tiny, "-o", folder.path(output)])
        }
        let rendered = try render("a.y4m", "--vae", tiny)
        #expect(rendered.status == 0, "\(rendered.errors)")
        let decoded = try decode("b.y4m")
        #expect(decoded.status == 0, "\(decoded.errors)")
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("b.y4m")))
        // Latents do not depend on what decodes them.
        #expect(try render("c.y4m", "--overwrite").status == 0)
        #expect(try decode("d.y4m").status == 0)
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("d.y4m")))
        #expect(try bytes(folder.path("a.y4m")) != bytes(folder.path("c.y4m")))
        let told = try CommandRun.run(["inspect", tiny])
        #expect(told.output.contains("tiny VAE") && told.output.contains("16 latent channels"), "\(told.output)")
    }

    @Test func whatItCannotDoIsRefusedInOneLine() throws {
        let folder = try TemporaryDirectory()
        #expect(try CommandRun.run(smallRender(folder.path("a.y4m"), steps: 1)).status == 0)
        let video = try CommandRun.run(
            smallRender(folder.path("b.y4m"), steps: 2, "--vae", tiny, "--video", folder.path("a.y4m")))
        #expect(video.status == 64 && video.lines.count == 1 && video.errors.contains("a tiny VAE cannot encode it"))
        let converted = try CommandRun.run(
            ["convert", Golden.sample("wan-mini"), "--vae", tiny, "-o", folder.path("model")])
        #expect(converted.status == 64 && converted.lines.count == 1 && converted.errors.contains("a tiny VAE"))
        #expect(folder.contents == ["a.y4m", "a.y4m.json"])
    }
}
