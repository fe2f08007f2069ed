/// Standard output in place of a file.
public enum StandardOutput {
    /// What it is called where a file is expected; a file of that name is `./-`.
    public static let name = "-"

    /// A path as messages have it.
    package static func shown(_ path: String) -> String { path == name ? "standard output" : path }
}
