import VditFiles
import VditMedia
import VditPipeline
import VditTensor

/// The report of a comparison: `report.html` (one file, nothing from the network), `results.json`,
/// `results.csv`, pictures and side-by-side videos.
struct Report {
    private let folder: String
    private let frameRate: FrameRate
    private let threads: Int
    /// What was made for the page so far, in the order of the results' clips.
    private var clips: [ReportClip] = []

    init(folder: String, frameRate: FrameRate, threads: Int) {
        (self.folder, self.frameRate, self.threads) = (folder, frameRate, threads)
    }

    /// Writes all of it anew; pictures and videos of clips that were there before are kept.
    mutating func write(_ results: ComparisonResults) throws {
        try FilePath.makeFolder("\(folder)/\(ReportFolder.pictures)")
        for clip in results.clips.dropFirst(clips.count) {
            clips.append(try ReportClip(clip, folder: folder, frameRate: frameRate, threads: threads))
        }
        try save(try encodedJSON(results), "results.json")
        try save(Array(results.renderTable.csv.utf8), "results.csv")
        let page = try ReportPage(results: results, clips: clips, folder: folder).html
        try save(Array(page.utf8), "report.html")
    }

    private func save(_ bytes: [UInt8], _ name: String) throws {
        try AtomicFile.write(bytes, to: "\(folder)/\(name)", existing: .replace)
    }
}
