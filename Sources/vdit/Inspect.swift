import ArgumentParser
import Foundation
import VDiT

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Describe a model, a tensor file, a prompt embedding or a video.",
        discussion: """
            Examples:

              vdit inspect samples/wan-mini --num-frames 33
              vdit inspect samples/prompts/01-red-ball-right.safetensors
              vdit inspect wan2.1_t2v_14B-Q4_K_M.gguf

            For a model it estimates the memory and the work of a video of the given size.
            Of a single file of weights it says what it is and what a render needs beside
            it.
            """)

    @Argument(help: ArgumentHelp("A folder, .safetensors, .gguf, .npy, .json or video file.", valueName: "path"))
    var path: String

    @OptionGroup(title: "A video of this size") var size: SettingFlags<SizeSection>
    @OptionGroup(title: "Machine") var machine: MachineOptions

    @Flag(name: .long, help: "List every tensor.")
    var tensors = false

    @Flag(name: .long, help: "As JSON.")
    var json = false

    func run() throws {
        if path.isEmpty { throw FileError.emptyPath("path") }
        guard FilePath.exists(path) else { throw FileError.missing(path: path) }
        if FilePath.isFolder(path) {
            if FilePath.exists("\(path)/model_index.json") {
                try show(ModelDescription(path, size.request(machine)))
            } else {
                try show(ComponentDescription(folder: path, listsTensors: tensors))
            }
            return
        }
        switch path.lowercased().split(separator: ".").last {
        case "safetensors":
            if !tensors, let adapter = try AdapterDescription(path) {
                try show(adapter)
            } else if let component = try? ComponentDescription(file: path, listsTensors: tensors) {
                try show(component)
            } else {
                try show(TensorFileDescription(path, listsTensors: tensors))
            }
        case "gguf": try show(ComponentDescription(file: path, listsTensors: tensors))
        case "npy": try show(TensorFileDescription(npy: path))
        case "json" where path.hasSuffix(".safetensors.index.json"):
            try show(ComponentDescription(folder: path, listsTensors: tensors))
        case "json": try Console.data(try Format.json(try RunRecord(path: path)))
        case "mp4", "mov", "mkv", "webm", "gif", "y4m", "png", "avi": try show(VideoDescription(path))
        default: try show(TensorFileDescription(path, listsTensors: tensors))
        }
    }

    private func show(_ description: some Description) throws {
        try Console.data(json ? try Format.json(description) : description.text)
    }
}

/// Something `inspect` can say about a path, for a person or a program.
protocol Description: Encodable {
    var text: String { get }
}
