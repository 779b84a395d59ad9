package soap

// CreateFolder makes folders below another one.
type CreateFolder struct {
	Parent  FolderID
	Folders []NewFolder
}

// A NewFolder is a folder to be created.
type NewFolder struct {
	Name  string
	Class string // "IPF.Note"; "" = the server's choice
}

// Name implements Operation.
func (CreateFolder) Name() string { return "CreateFolder" }

func (o CreateFolder) write(w *writer) {
	w.some("folders", len(o.Folders))
	w.open("m:CreateFolder")
	w.folderID("m:ParentFolderId", o.Parent)
	w.open("m:Folders")
	for _, f := range o.Folders {
		w.some("folder name", len(f.Name))
		w.open("t:Folder")
		w.maybe("t:FolderClass", f.Class)
		w.leaf("t:DisplayName", f.Name)
		w.end("t:Folder")
	}
	w.end("m:Folders")
	w.end("m:CreateFolder")
}
