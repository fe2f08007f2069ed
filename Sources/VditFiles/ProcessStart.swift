import Glibc

/// Ticks since boot at which a process started; "dead" for one of which only the exit status is left, nil where
/// it cannot be read.
package func processStart(_ process: pid_t) -> String? {
    let descriptor = open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = read(descriptor, &bytes, bytes.count)
    guard count > 0, let name = bytes[..<count].lastIndex(of: UInt8(ascii: ")")) else { return nil }
    // The fields after the command's name: the state is the first, the start the twentieth.
    let fields = String(decoding: bytes[name..<count].dropFirst(), as: UTF8.self).split(separator: " ")
    guard fields.count > 19 else { return nil }
    return ["Z", "X"].contains(fields[0]) ? "dead" : String(fields[19])
}
