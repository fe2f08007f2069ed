import Foundation
import Glibc
import VditMedia
import VditTensor

/// What this machine offers and what a run will use of it.
public struct MachineReport: Sendable, Codable {
    public struct Library: Sendable, Codable {
        public let name: String
        public let version: String
    }

    public struct Codec: Sendable, Codable {
        public let name: String
        /// libav's names; empty if it cannot be written.
        public let encoders: [String]
        public let canDecode: Bool
    }

    public let vditVersion: String
    public let cpu: String
    /// Those the kernels ask for, as Linux names them.
    public let features: [String]
    /// All this CPU supports, weakest first.
    public let instructionSets: [String]
    /// The one in use: the best, or what `VDIT_ISA` names.
    public let instructionSet: String
    /// The attention kernel of each precision; of int8, the one with int8 scores.
    public let kernels: [String: String]
    /// Logical processors of the machine, and the threads a run uses by default.
    public let processors: Int
    public let threads: Int
    /// Processors the cgroup allows, where it limits them.
    public let cpuLimit: Double?
    /// Parts of memory, with the processors near them that may be used, and whether pages may be laid out over them.
    public let memoryNodes: [MemoryNode]
    public let memoryPolicies: Bool
    public let memoryBytes: Int
    public let availableBytes: Int
    /// Who limits `availableBytes`.
    public let availableSource: String
    /// What memory gives to one thread and to `threads` together, measured, in GB/s.
    public let readBandwidthOfOne: Double
    public let readBandwidth: Double
    public let libraries: [Library]
    public let codecs: [Codec]
    public let formats: [String]
    /// What will make runs slow or fail, in sentences.
    public let warnings: [String]

    /// - Throws: `TensorError.environment` when `VDIT_ISA` names an instruction set this CPU has not.
    public init() throws {
        let set = try InstructionSet.chosen()
        let limit = MemoryLimit.current()
        let info = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        func field(_ name: String) -> String? {
            info.split(separator: "\n").first { $0.hasPrefix(name) }?.split(separator: ":").last
                .map { $0.trimmingCharacters(in: .whitespaces) }
        }
        let flags = Set((field("flags") ?? "").split(separator: " ").map(String.init))
        vditVersion = VditPipeline.vditVersion
        cpu = processorName
        features = [
            "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "avx_vnni", "avx512_vnni",
            "amx_tile", "amx_bf16", "amx_int8",
        ].filter(flags.contains)
        instructionSet = "\(set)"
        instructionSets = InstructionSet.supported.map { "\($0)" }
        let pool = WorkPool(threads: 1)
        kernels = Dictionary(
            uniqueKeysWithValues: Precision.allCases.map { precision in
                let compute = ComputeContext(pool: pool, instructionSet: set, precision: precision)
                let kernel = AttentionKernel(
                    set, operands: compute.operandType, precision: precision == .int8 ? .int8 : nil)
                return (precision.rawValue, "\(kernel)")
            })
        processors = ProcessInfo.processInfo.processorCount
        threads = usableProcessors()
        cpuLimit = processorLimit()
        memoryNodes = MemoryNode.usable()
        memoryPolicies = MemoryPolicy.isAllowed
        memoryBytes = Int(clamping: ProcessInfo.processInfo.physicalMemory)
        availableBytes = limit.bytes
        availableSource = limit.source
        readBandwidthOfOne = MachinePeaks.readBandwidth(pool: pool)
        readBandwidth = threads == 1 ? readBandwidthOfOne : MachinePeaks.readBandwidth(pool: WorkPool(threads: threads))
        libraries =
            numericLibraryVersions.map { Library(name: $0.key, version: $0.value) }
            + [Library(name: "FFmpeg", version: MediaSupport.ffmpegVersion)]
            + MediaSupport.libraryVersions.map { Library(name: $0.name, version: $0.version) }
            + [Library(name: "libpng", version: MediaSupport.pngVersion)]
        codecs = MediaSupport.codecs.map {
            Codec(name: $0.codec.rawValue, encoders: $0.encoders, canDecode: $0.canDecode)
        }
        formats = MediaSupport.formats.map(\.rawValue)

        var warnings: [String] = []
        if InstructionSet.supported.max().map({ set < $0 }) ?? false {
            warnings.append("VDIT_ISA holds the kernels to \(set); this CPU can do more")
        }
        if set < .avx2 { warnings.append("no AVX2: rendering will be slow") }
        if set < .avx512bf16 {
            warnings.append("no bf16 arithmetic: precision bf16 saves no time or memory here")
        }
        if threads < processors {
            warnings.append(
                "\(threads) of \(processors) processors may be used: affinity or the cgroup holds back the others")
        }
        let pages = "/sys/kernel/mm/transparent_hugepage/enabled"
        if let text = try? String(contentsOfFile: pages, encoding: .utf8), text.contains("[never]") {
            warnings.append("huge pages are off: 'echo madvise > \(pages)' (as root) makes large products faster")
        }
        if features.contains("amx_tile"), !InstructionSet.supported.contains(where: { "\($0)".hasPrefix("amx") }) {
            warnings.append(
                "this CPU has AMX, but the system does not grant its tiles: a newer kernel or another sandbox does")
        }
        if threads >= 4, readBandwidth < 1.5 * readBandwidthOfOne {
            warnings.append(
                "\(threads) threads read little more of memory than one: linear layers and decoders will wait for it; "
                    + "modules in every memory channel, or a machine of one's own, give more")
        }
        if limit.bytes < 2 << 30 {
            warnings.append("little memory is free: even small models need about 1 GiB")
        }
        for codec in codecs where codec.encoders.isEmpty && codec.name == "h264" {
            warnings.append("FFmpeg has no H.264 encoder: name outputs .webm, or use another codec")
        }
        self.warnings = warnings
    }
}
