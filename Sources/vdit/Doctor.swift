import ArgumentParser
import VDiT

struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what this machine can do and what vdit will use of it.",
        discussion: """
            Example:

              vdit doctor
              VDIT_ISA=avx2 vdit doctor     (what an older CPU would run)
            """)

    @Flag(name: .long, help: "As JSON.")
    var json = false

    func run() throws {
        let machine = try MachineReport()
        try Console.data(json ? try Format.json(machine) : text(machine))
    }

    private func text(_ machine: MachineReport) -> String {
        func rate(_ bandwidth: Double) -> String { Format.count(bandwidth * 1e9) + "B/s" }
        var rows = [
            ["vdit", vditBuild],
            ["CPU", machine.cpu],
            ["features", machine.features.joined(separator: " ")],
            ["instruction set", "\(machine.instructionSet) (of \(machine.instructionSets.joined(separator: ", ")))"],
        ]
        rows += machine.kernels.sorted { $0.key < $1.key }.map { ["kernel \($0.key)", $0.value] }
        rows += [
            ["processors", "\(machine.processors), of which vdit uses \(machine.threads)"],
            ["CPU limit", machine.cpuLimit.map { "\($0) processors (cgroup)" } ?? "none"],
            [
                "memory",
                "\(Bytes.text(machine.memoryBytes)), free \(Bytes.text(machine.availableBytes)) "
                    + "(\(machine.availableSource))",
            ],
            ["memory nodes", nodes(machine)],
            [
                "reading memory",
                rate(machine.readBandwidth)
                    + (machine.threads == 1 ? "" : "; one thread \(rate(machine.readBandwidthOfOne))"),
            ],
        ]
        rows += machine.libraries.map { [$0.name, $0.version] }
        rows += machine.codecs.map { codec in
            [codec.name, codec.encoders.isEmpty ? "cannot be written" : codec.encoders.joined(separator: ", ")]
        }
        rows.append(["outputs", machine.formats.joined(separator: ", ")])
        rows += machine.warnings.map { ["warning", $0] }
        if machine.warnings.isEmpty { rows.append(["warnings", "none"]) }
        return Console.table(rows)
    }

    private func nodes(_ machine: MachineReport) -> String {
        let nodes = machine.memoryNodes
        if nodes.count == 1 { return "1" }
        return "\(nodes.count): " + nodes.map { "\($0)" }.joined(separator: ", ") + "; --numa keeps threads to them"
            + (machine.memoryPolicies ? "" : ", but the system refuses to lay memory out over them")
    }
}
