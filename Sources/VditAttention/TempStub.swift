import VditTensor
public struct PackedKeys: Sendable { public let byteCount: Int; public init(keys: Tensor, values: Tensor, instructionSet: InstructionSet) { byteCount = keys.byteCount } }
public func crossAttention(_ q: Tensor, _ p: PackedKeys, into: Tensor, _ s: Scratch) {}
