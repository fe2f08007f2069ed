import Foundation
import TestSupport
import Testing
import VDiT

@Suite struct MediaDeterminismTests {
    static let outputs: [(String, VideoCodec?)] = [
        ("a.mp4", .h264), ("a.mkv", .h264), ("a.mp4", .hevc), ("a.mp4", .av1), ("a.webm", .vp9),
        ("a.mov", .prores), ("a.mkv", .ffv1), ("a.gif", nil), ("a.y4m", nil), ("a.png", nil),
    ]

    @Test(arguments: outputs)
    func sameFramesGiveSameBytesWhateverTheThreads(name: String, codec: VideoCodec?) throws {
        let folder = try TemporaryDirectory()
        var options = try Clips.options()
        options.codec = codec
        if name != "a.gif" && name != "a.y4m" { options.metadata = ["comment": "x", "b": "1", "a": "2"] }
        let depth: SampleDepth = codec == .prores ? .sixteen : .eight
        // Wide enough for the encoders to split the picture among threads if they were allowed to.
        let frames = (0..<4).map { Clips.busy($0, width: 512, height: 288, depth: depth) }
        var digests: Set<String> = []
        for (run, threads) in [1, 1, 2, 4].enumerated() {
            options.threads = threads
            let path = folder.path("\(run)-\(name)")
            try Clips.write(frames, to: path, options)
            digests.insert(try Digest.sha256(file: path))
        }
        #expect(digests.count == 1)
    }

    @Test func framesDoNotDependOnThreads() throws {
        let values = (0..<3 * 17 * 23).map { (index: Int) -> Float in
            Float(sin(Double(index * index % 1000))) * 1.2
        }
        let picture = Tensor(values, shape: [17, 23, 3])
        let alone = try VideoFrame(rounding: picture).bytes
        for threads in [1, 2, 3] {
            let pool = WorkPool(threads: threads)
            #expect(try VideoFrame(rounding: picture, pool: pool).bytes == alone)
        }
    }

    @Test func digestIsSHA256() throws {
        let folder = try TemporaryDirectory()
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        #expect(Digest.sha256(Array("abc".utf8)) == abc)
        #expect(Digest.sha256([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        try Data("abc".utf8).write(to: URL(fileURLWithPath: folder.path("abc")))
        #expect(try Digest.sha256(file: folder.path("abc")) == abc)
        let long = [UInt8](repeating: 97, count: 3_000_001)
        try Data(long).write(to: URL(fileURLWithPath: folder.path("long")))
        #expect(try Digest.sha256(file: folder.path("long")) == Digest.sha256(long))
    }

    @Test func everyCodecOfThisBuildIsReported() {
        let codecs = MediaSupport.codecs
        #expect(codecs.map(\.codec) == VideoCodec.allCases)
        for codec in codecs { #expect(codec.canDecode && !codec.encoders.isEmpty) }
        #expect(Set(MediaSupport.formats) == Set(OutputFormat.allCases))
        #expect(!MediaSupport.ffmpegVersion.isEmpty && !MediaSupport.pngVersion.isEmpty)
    }
}
