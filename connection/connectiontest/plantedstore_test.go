package connectiontest

var (
	plantedStores   []planted
	plantedOutboxes []planted
	plantedLines    []planted
)
