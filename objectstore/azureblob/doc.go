// Package azureblob keeps objects in a container of Azure Blob Storage.
package azureblob
