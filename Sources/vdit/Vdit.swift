import ArgumentParser
import VDiT

@main
struct Vdit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vdit",
        abstract: "Video diffusion transformers on CPUs, with sparse attention.")
}
