import Foundation
import VDiT

/// Fixture files of the repository.
public enum Golden {
    /// The repository's root folder.
    public static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// `Tests/Golden/<path>`.
    public static func path(_ path: String) -> String {
        root.appendingPathComponent("Tests/Golden/\(path)").path
    }

    /// `samples/<path>`.
    public static func sample(_ path: String) -> String {
        root.appendingPathComponent("samples/\(path)").path
    }
}
