import VditFiles

// What the configurations of VAEs have in common.

extension ConfigFile {
    /// A list of whole numbers from 1 to 65536.
    ///
    /// - Parameters:
    ///   - count: of them; nil is 1 to 8.
    ///   - standard: where the key is missing.
    func wholeNumbers(_ key: String, count: Int? = nil, standard: [Int]) throws(FileError) -> [Int] {
        let numbers = try numbersIfPresent(key) ?? standard.map(Double.init)
        let values = numbers.compactMap { Int(exactly: $0) }.filter { (1...65536).contains($0) }
        guard values.count == numbers.count, count.map({ $0 == values.count }) ?? (1...8 ~= values.count) else {
            throw .malformed(
                path: path, field: key, found: "\(numbers)",
                expected: "\(count.map(String.init) ?? "1 to 8") whole numbers from 1 to 65536")
        }
        return values
    }

    /// Numbers of each latent channel; finite, and above 0 where `positive`.
    func perChannel(_ key: String, _ channels: Int, positive: Bool = false) throws(FileError) -> [Float] {
        guard let numbers = try numbersIfPresent(key), numbers.count == channels else {
            throw .malformed(
                path: path, field: key, found: "no list of \(channels) numbers",
                expected: "one number per latent channel")
        }
        let values = numbers.map { Float($0) }
        guard values.allSatisfy({ $0.isFinite && ($0 > 0 || !positive) }) else {
            throw .malformed(
                path: path, field: key, found: "\(numbers)", expected: "finite numbers" + (positive ? " above 0" : ""))
        }
        return values
    }

    /// A key that may be missing, but not say anything else.
    func only(_ key: String, _ value: Double) throws(FileError) {
        try only(key, numberIfPresent(key, -1e9...1e9), value)
    }

    func only(_ key: String, _ value: Bool) throws(FileError) { try only(key, boolIfPresent(key), value) }

    func only(_ key: String, _ value: String) throws(FileError) { try only(key, stringIfPresent(key), value) }

    private func only<Value: Equatable>(_ key: String, _ found: Value?, _ value: Value) throws(FileError) {
        guard let found, found != value else { return }
        throw .malformed(path: path, field: key, found: "\(found)", expected: "\(value)")
    }

    /// A list that names one class for every level.
    func only(_ key: String, _ name: String, levels: Int) throws(FileError) {
        guard let names = try stringsIfPresent(key), names != Array(repeating: name, count: levels) else { return }
        throw .malformed(
            path: path, field: key, found: names.joined(separator: ", "), expected: "\(name), \(levels) times")
    }

    /// A key that may be missing, but not contradict what the rest says.
    func stated(_ key: String, _ own: Int, by: String) throws(FileError) {
        guard let stated = try integerIfPresent(key, 1...1024), stated != own else { return }
        throw .malformed(path: path, field: key, found: "\(stated)", expected: "\(own), as \(by) give")
    }

    /// Groups of a group norm that every width can be divided into.
    func groups(_ key: String, of widths: [Int]) throws(FileError) -> Int {
        let groups = try integerIfPresent(key, 1...4096) ?? 32
        guard let width = widths.first(where: { $0 % groups != 0 }) else { return groups }
        throw .malformed(
            path: path, field: key, found: "\(groups)", expected: "a number that divides \(width) channels")
    }

    /// What latents were multiplied by.
    func scalingFactor(_ standard: Double) throws(FileError) -> Double {
        try numberIfPresent("scaling_factor", 1e-6...1e6) ?? standard
    }
}
