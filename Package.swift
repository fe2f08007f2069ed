// swift-tools-version: 6.2
import PackageDescription

// The module table of docs/architecture.md: arrows point down only.
let package = Package(
    name: "vdit",
    products: [
        .library(name: "VDiT", targets: ["VDiT"]),
        .executable(name: "vdit", targets: ["VditCommand"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
    ],
    targets: [
        .target(name: "CVditKernels", linkerSettings: [.linkedLibrary("m")]),
        .target(name: "COneDNN", linkerSettings: [.linkedLibrary("dnnl")]),
        .target(
            name: "CFFmpeg",
            linkerSettings: ["avfilter", "avformat", "avcodec", "swscale", "avutil"].map { .linkedLibrary($0) }),
        .target(name: "CPNG", linkerSettings: [.linkedLibrary("png16")]),
        .target(name: "VditFiles"),
        .target(name: "VditTensor", dependencies: ["VditFiles", "CVditKernels", "COneDNN"]),
        .target(name: "VditAttention", dependencies: ["VditFiles", "VditTensor"]),
        .target(name: "VditModels", dependencies: ["VditFiles", "VditTensor", "VditAttention"]),
        .target(name: "VditText", dependencies: ["VditFiles", "VditTensor"]),
        .target(name: "VditMedia", dependencies: ["VditFiles", "VditTensor", "CFFmpeg", "CPNG"]),
        .target(
            name: "VditPipeline",
            dependencies: ["VditFiles", "VditTensor", "VditAttention", "VditModels", "VditText", "VditMedia"]),
        .target(
            name: "VditBatch",
            dependencies: [
                "VditFiles", "VditTensor", "VditAttention", "VditModels", "VditMedia", "VditPipeline",
                .product(name: "GRDB", package: "GRDB.swift"), .product(name: "Yams", package: "Yams"),
            ]),
        .target(
            name: "VDiT",
            dependencies: [
                "VditFiles", "VditTensor", "VditAttention", "VditModels", "VditText", "VditMedia", "VditPipeline",
                "VditBatch",
            ]),
        .executableTarget(
            name: "VditCommand",
            dependencies: [
                "VDiT", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/vdit"),

        .target(name: "TestSupport", dependencies: ["VDiT"], path: "Tests/Support"),
        .testTarget(name: "ParityTests", dependencies: ["VDiT", "TestSupport"]),
        .testTarget(
            name: "InvariantTests",
            dependencies: [
                "VDiT", "TestSupport", "CVditKernels", .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        .testTarget(name: "BadInputTests", dependencies: ["VDiT", "TestSupport"]),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["VDiT", "TestSupport", "VditCommand"]),
    ],
    swiftLanguageModes: [.v6]
)

// The sanitizer brings this one's `main`, so it is no part of a plain build: `make fuzz-guided`.
if Context.environment["VDIT_FUZZER"] != nil {
    package.targets.append(.executableTarget(name: "Fuzz", dependencies: ["VDiT", "TestSupport"], path: "Tests/Fuzz"))
}
